/**
 * Where a text stops being JSON. Browsers tell the place in different words, and often not at all.
 * @module
 */

const BLANK = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y;
const PLAIN = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/**
 * The first place that cannot be, and what could be there; null: it is JSON.
 * @param {string} text
 * @returns {{at: number, fault: string} | null}
 */
export function jsonFault(text) {
  let at = 0;
  const take = (/** @type {RegExp} */ pattern) => {
    pattern.lastIndex = at;
    const is = pattern.test(text);
    if (is) at = pattern.lastIndex;
    return is;
  };
  /** @type {(wanted: string) => never} */
  const stop = (wanted) => {
    throw new Stop(at, text[at] === '"' ? "a text without its closing quote, or with a character that has to be escaped"
      : `${wanted} is expected here`);
  };
  const sign = (/** @type {string} */ wanted) => (take(BLANK), text[at] === wanted && Boolean(++at));
  const name = () => {
    take(BLANK);
    if (!take(STRING)) stop('a name in double quotes');
    if (!sign(":")) stop("a colon");
    value();
  };
  const many = (/** @type {string} */ end, /** @type {() => void} */ one) => {
    if (sign(end)) return;
    do one(); while (sign(","));
    if (!sign(end)) stop(`a comma or ${end}`);
  };
  const value = () => {
    if (sign("{")) many("}", name);
    else if (sign("[")) many("]", value);
    else if (!take(STRING) && !take(PLAIN)) stop("a value");
  };
  try {
    value();
    take(BLANK);
    if (at < text.length) stop("the end");
    return null;
  } catch (error) {
    if (error instanceof Stop) return { at: error.at, fault: error.message };
    throw error;
  }
}

class Stop extends Error {
  /** @param {number} at @param {string} message */
  constructor(at, message) {
    super(message);
    this.at = at;
  }
}
