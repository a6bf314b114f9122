// Evaluated in the page: whether everything that somebody can act on can be acted on. Boxes that scroll by themselves
// may be wider within.
() => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  const name = (element) => {
    const text = element.getAttribute("aria-label") || element.textContent || element.id || "";
    return `<${element.tagName.toLowerCase()}> ${text.trim().slice(0, 40)}`;
  };
  const scrolls = (element) => {
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
      if (/(auto|scroll)/.test(getComputedStyle(at).overflowX) && at.scrollWidth > at.clientWidth) return true;
    }
    return false;
  };
  const isVisible = (element) =>
    element.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true }) && element.getClientRects().length > 0;
  const isHidden = (element) => element.closest(".visually-hidden, .skip, [aria-hidden=true]") !== null;
  const isTick = (element) => element.matches("input[type=checkbox], input[type=radio]");

  if (document.documentElement.scrollWidth > width + 1) {
    faults.push(`the page scrolls sideways: ${document.documentElement.scrollWidth} > ${width}`);
  }
  const actions = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter(
    (element) => isVisible(element) && !isHidden(element),
  );
  for (const element of actions) {
    const box = element.getBoundingClientRect();
    if ((box.left < -1 || box.right > width + 1) && !scrolls(element)) {
      faults.push(`${name(element)} reaches out of the page: ${Math.round(box.left)}..${Math.round(box.right)} of ${width}`);
    }
    // Links within a line of text may be as high as the line.
    const isInline = getComputedStyle(element).display === "inline";
    if (!isInline && !isTick(element) && (box.width < 23.5 || box.height < 23.5)) {
      faults.push(`${name(element)} is too small to hit: ${Math.round(box.width)} x ${Math.round(box.height)}`);
    }
    if (element.tagName === "BUTTON" && element.scrollWidth > element.clientWidth + 2) {
      faults.push(`${name(element)} does not fit its own text`);
    }
  }
  const belong = (one, other) =>
    one.contains(other) || other.contains(one) || (one.closest("label") !== null && one.closest("label") === other.closest("label"));
  const stays = (element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      if (/(sticky|fixed)/.test(getComputedStyle(at).position)) return true;
    }
    return false;
  };
  for (const element of actions) {
    const box = element.getBoundingClientRect();
    const isInView = box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= width && !scrolls(element);
    if (!isInView || document.querySelector("dialog[open]")) continue;
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    // A bar that stays at the edge covers what is scrolled behind it, and that can be scrolled out from there again.
    if (top && !belong(element, top) && !stays(top)) faults.push(`${name(element)} is covered by ${name(top)}`);
  }
  return faults;
}
