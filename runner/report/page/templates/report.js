"use strict";

// Everything shown here is untrusted text: it becomes text nodes only, never HTML.
const $ = (id) => document.getElementById(id);
const decoder = new TextDecoder();

async function unpack(element) {
  const text = atob(element.textContent);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(decoder.decode(await new Response(stream).arrayBuffer()));
}

function make(name, options = {}, ...children) {
  const element = document.createElement(name);
  const { text, ...attributes } = options;
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function toText(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, typeof value === "object" ? 1 : 0);
}

class Rows {
  constructor(index, elements, pictures) {
    this.index = index;
    this.pictures = new Map([...pictures].map((element) => [Number(element.dataset.block), element]));
    this.elements = elements;
    this.loaded = new Map();
    this.starts = [];
    let start = 0;
    for (const size of index.sizes) {
      this.starts.push(start);
      start += size;
    }
    this.total = start;
  }

  load(block) {
    if (!this.loaded.has(block)) this.loaded.set(block, unpack(this.elements[block]));
    return this.loaded.get(block);
  }

  blockOf(row) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  async read(row) {
    const number = this.blockOf(row);
    const block = await this.load(number);
    const at = row - this.starts[number];
    const pick = (columns) => columns.map(([name, values]) => [name, values[at]]);
    return {
      key: block.key[at],
      outcome: this.index.outcomes[this.index.outcome[row]],
      reason: this.index.reasons[this.index.reason[row]],
      message: block.message[at],
      wrong: block.wrong[at],
      input: pick(block.input),
      output: pick(block.output).filter(([, value]) => value !== null),
      draw: () => this.readPictures(number, at),
    };
  }

  async readPictures(number, at) {
    return this.pictures.has(number) ? (await unpack(this.pictures.get(number)))[at] : [];
  }

  fits(row, filter) {
    return (
      (filter.outcome === "" || this.index.outcome[row] === Number(filter.outcome)) &&
      (filter.reason === "" || this.index.reason[row] === Number(filter.reason)) &&
      (filter.wrong === "" || this.index.wrong[row] === Number(filter.wrong))
    );
  }

  async find(filter, isCurrent, onProgress) {
    const query = filter.query.toLowerCase();
    const found = [];
    for (let number = 0; number < this.starts.length; number++) {
      const start = this.starts[number];
      const rows = [];
      for (let row = start; row < start + this.index.sizes[number]; row++) if (this.fits(row, filter)) rows.push(row);
      if (query === "") {
        found.push(...rows);
        continue;
      }
      if (rows.length === 0) continue;
      const block = await this.load(number);
      if (!isCurrent()) return null;
      for (const row of rows) if (contains(block, row - start, query)) found.push(row);
      if (number % 20 === 19) onProgress(start, found.length);
    }
    return found;
  }
}

function contains(block, at, query) {
  const has = (value) => value !== null && value !== undefined && toText(value).toLowerCase().includes(query);
  return (
    has(block.key[at]) ||
    has(block.message[at]) ||
    block.input.some(([, values]) => has(values[at])) ||
    block.output.some(([, values]) => has(values[at]))
  );
}

class Table {
  constructor(rows) {
    this.rows = rows;
    this.found = [];
    this.page = 1;
    this.search = 0;
    this.drawing = 0;
  }

  get size() {
    return Number($("size").value);
  }

  get pages() {
    return Math.max(1, Math.ceil(this.found.length / this.size));
  }

  async filter() {
    const search = ++this.search;
    const filter = {
      query: $("query").value.trim(), outcome: $("outcome").value, reason: $("reason").value, wrong: $("wrong")?.value ?? "",
    };
    const found = await this.rows.find(
      filter,
      () => search === this.search,
      (seen, hits) => ($("status").textContent = `Searching: ${hits.toLocaleString("en")} found in ${seen.toLocaleString("en")} rows…`),
    );
    if (found === null || search !== this.search) return;
    this.found = found;
    await this.show(1);
  }

  async show(page) {
    const drawing = ++this.drawing;
    this.page = Math.min(Math.max(1, page || 1), this.pages);
    const first = (this.page - 1) * this.size;
    const shown = this.found.slice(first, first + this.size);
    const rows = await Promise.all(shown.map((row) => this.rows.read(row)));
    if (drawing !== this.drawing) return;
    $("table").tBodies[0].replaceChildren(...rows.flatMap((row, at) => drawRow(row, at)));
    const range = shown.length ? `${(first + 1).toLocaleString("en")} to ${(first + shown.length).toLocaleString("en")} of ` : "";
    $("status").textContent = `${range}${this.found.length.toLocaleString("en")} of ${this.rows.total.toLocaleString("en")} rows`;
    $("page").value = this.page;
    $("page").max = this.pages;
    $("pages").textContent = `of ${this.pages.toLocaleString("en")}`;
    for (const id of ["first", "previous"]) $(id).disabled = this.page === 1;
    for (const id of ["next", "last"]) $(id).disabled = this.page === this.pages;
  }
}

function drawRow(row, at) {
  const id = `row-${at}`;
  const button = make("button", { type: "button", class: "key", "aria-expanded": "false", "aria-controls": id, text: toText(row.key) });
  const hasFailed = !["succeeded", "pending"].includes(row.outcome);
  const line = make(
    "tr", {},
    make("th", { scope: "row" }, button),
    make("td", { class: hasFailed ? "state failed" : "state", text: row.outcome }, ...drawWrongMark(row)),
    make("td", {}, make("span", { class: "cut", text: shorten(row.input) })),
    make("td", {}, make("span", { class: "cut", text: shorten(row.output) })),
  );
  const cell = make("td", { colspan: "4" });
  const detail = make("tr", { id, hidden: "" }, cell);
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (!cell.firstChild) cell.append(drawPair(row));
    detail.hidden = isOpen;
  });
  return [line, detail];
}

function drawWrongMark(row) {
  return row.wrong.length === 0 ? [] : [make("span", { class: "mark", text: "✗ wrong" })];
}

function drawWrong(row) {
  const head = ["evaluation", "expected", "actual"].map((text) => make("th", { scope: "col", text }));
  const missing = row.outcome === "succeeded" ? "null" : "no valid answer";
  const lines = row.wrong.map(([name, expected, actual]) =>
    make(
      "tr", {},
      make("th", { scope: "row", text: name }),
      make("td", { text: toText(expected) }),
      make("td", {}, make("span", { class: "wrong", text: `✗ ${actual === null ? missing : toText(actual)}` })),
    ),
  );
  return make("table", { class: "labels" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
}

function shorten(fields) {
  return fields
    .filter(([, value]) => value !== null)
    .map(([name, value]) => (name === "" ? toText(value) : `${name}: ${toText(value)}`).slice(0, 160))
    .slice(0, 4)
    .join(" · ");
}

function drawPair(row) {
  const pair = make("div", { class: "pair" });
  if (row.message) pair.append(make("p", { class: "error", text: `${row.reason ? `${row.reason} — ` : ""}${row.message}` }));
  if (row.wrong.length > 0) pair.append(drawWrong(row));
  const input = drawFields("Input", row.input, null);
  pair.append(input, drawFields("Output", row.output, row.message));
  row.draw().then((urls) => {
    urls.forEach((url, at) => input.append(make("img", { src: url, alt: `Attachment ${at + 1} of row ${toText(row.key)}` })));
  });
  return pair;
}

function drawFields(title, fields, message) {
  const list = make("dl");
  for (const [name, value] of fields) {
    const isWrong = name !== "" && message && namesField(message, name);
    list.append(
      make("dt", { text: name === "" ? "text" : name }),
      make("dd", isWrong ? { class: "wrong", text: `✗ ${toText(value)}` } : { text: value === null ? "–" : toText(value) }),
    );
  }
  if (fields.length === 0) list.append(make("dt", { text: "none" }));
  return make("div", {}, make("h3", { text: title }), list);
}

function namesField(message, name) {
  return message.startsWith(`${name}:`) || message.startsWith(`${name}.`) || message.startsWith(`${name}[`);
}

function offer(select, names, codes) {
  const counts = new Map();
  for (const code of codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  for (const [code, count] of [...counts].sort((one, other) => other[1] - one[1])) {
    if (names[code] !== "") select.append(make("option", { value: code, text: `${names[code]} (${count.toLocaleString("en")})` }));
  }
}

async function start() {
  const index = await unpack($("index"));
  const rows = new Rows(index, document.querySelectorAll("script.block"), document.querySelectorAll("script.pictures"));
  const table = new Table(rows);
  offer($("outcome"), index.outcomes, index.outcome);
  offer($("reason"), index.reasons, index.reason);
  let waiting = 0;
  $("query").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => table.filter(), 200);
  });
  for (const id of ["outcome", "reason", "wrong"]) $(id)?.addEventListener("change", () => table.filter());
  $("size").addEventListener("change", () => table.show(1));
  $("page").addEventListener("change", () => table.show(Number($("page").value)));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("first").addEventListener("click", () => table.show(1));
  $("previous").addEventListener("click", () => table.show(table.page - 1));
  $("next").addEventListener("click", () => table.show(table.page + 1));
  $("last").addEventListener("click", () => table.show(table.pages));
  await table.filter();
}

start().catch((error) => ($("status").textContent = `The rows cannot be read: ${error.message}`));
