/**
 * Which schedules are selected: some of a page, or all that match, over all pages.
 * @module
 */
import { number } from "../format.js";
import { h, say } from "../lib.js";
import { allThatMatch, bulkButtons } from "./schedules-bulk.js";

export class Selection {
  /**
   * @param {Map<string, import("./schedules-row.js").Row>} rows the rows of the page
   * @param {() => {where: Record<string, unknown>, total: number}} scope
   * @param {() => void} after when something was done to them
   */
  constructor(rows, scope, after) {
    this.rows = rows;
    this.scope = scope;
    /**
     * Ids and names.
     * @type {Map<string, string>}
     */
    this.picked = new Map();
    this.last = "";
    this.head = h("input", { type: "checkbox", "aria-label": "Select all on this page", onclick: () => this.pickPage() });
    this.text = h("strong", { role: "status" });
    this.everything = h("button", { type: "button", onclick: () => this.pickAll() });
    this.bar = h("div", { class: "bulk actions", role: "group", "aria-label": "Selected schedules", hidden: true }, this.text,
      this.everything,
      bulkButtons(() => this.picked, () => (this.clear(), after())),
      h("button", { type: "button", class: "quiet", onclick: () => this.clear() }, "Clear selection"));
  }

  /** @param {string} id @param {boolean} isPicked @param {boolean} isRange from the one before up to this one */
  pick(id, isPicked, isRange) {
    const place = (/** @type {string} */ one) => this.rows.get(one)?.element.sectionRowIndex ?? -1;
    const [from = -1, to = -1] = [place(this.last), place(id)].sort((a, b) => a - b);
    const all = isRange && from >= 0 ? [...this.rows.keys()].filter((one) => place(one) >= from && place(one) <= to) : [id];
    for (const one of all) {
      if (isPicked) this.picked.set(one, this.rows.get(one)?.schedule.name ?? one);
      else this.picked.delete(one);
    }
    this.last = id;
    this.show();
  }

  /** @param {string} id @param {boolean} isRange */
  toggle(id, isRange) {
    this.pick(id, isRange || !this.picked.has(id), isRange);
  }

  pickPage() {
    for (const [id, row] of this.rows) {
      if (this.head.checked) this.picked.set(id, row.schedule.name);
      else this.picked.delete(id);
    }
    this.show();
  }

  async pickAll() {
    const { where, total } = this.scope();
    this.picked = (await allThatMatch(where, total)) ?? this.picked;
    this.show();
  }

  clear() {
    this.picked.clear();
    this.show();
  }

  show() {
    let here = 0;
    for (const [id, row] of this.rows) {
      row.box.checked = this.picked.has(id);
      row.element.classList.toggle("picked", row.box.checked);
      here += Number(row.box.checked);
    }
    const { total } = this.scope();
    this.head.checked = here > 0 && here === this.rows.size;
    this.head.indeterminate = here > 0 && here < this.rows.size;
    this.bar.hidden = this.picked.size === 0;
    say(this.text, `${number(this.picked.size)} selected`);
    this.everything.hidden = !this.head.checked || this.picked.size >= total;
    say(this.everything, `Select all ${number(total)} that match`);
  }
}
