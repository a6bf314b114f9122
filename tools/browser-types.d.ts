// What browsers know and the type checker of older distributions does not yet.
interface Array<T> {
  toReversed(): T[];
  findLast(holds: (item: T) => unknown): T | undefined;
}
interface HTMLElement {
  showPopover(): void;
  hidePopover(): void;
}
interface ToggleEvent extends Event {
  readonly newState: string;
  readonly oldState: string;
}
declare namespace Intl {
  function supportedValuesOf(key: string): string[];
}
