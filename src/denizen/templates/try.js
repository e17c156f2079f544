/* The page on which people try a run: a question, what each system finds for it, and a grade by a key.

   Two things answer: a server (Served), or what stands in the page itself (Stored). All else is the same. Texts are put
   into the page as texts and never as HTML. */
"use strict";

const MEANING = { 1: "unrelated", 2: "touches the topic", 3: "a part of the answer", 4: "answers" };
const SHOWN = 10;
// questions that are offered below the field
const OFFERED = 5;
const $ = (id) => document.getElementById(id);

/* An element with properties ("class", "on..." and attributes) and children, of which texts are texts. */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const folded = (text) => text.toLowerCase().split(/\s+/).filter(Boolean).join(" ");

/* What a server knows and finds. */
class Served {
  own = true;
  model = null;

  async begin() {
    const { data } = await this.get("v1/models");
    return data.map((model) => model.id);
  }

  describe() {
    return this.get(`v1/systems?model=${encodeURIComponent(this.model)}`);
  }

  async search(query, system, domain) {
    const body = { query, model: this.model, top_k: SHOWN, explain: true };
    if (system) body.system = system;
    if (domain) body.domain = domain;
    const { data } = await this.post("v1/search", body);
    const ranks = new Map(data[0].ranking.map((docId, at) => [docId, at + 1]));
    return { passages: data[0].passages, ranks };
  }

  async grade(query, passage, grade, system) {
    const body = { query, doc_id: passage.doc_id, grade, model: this.model, rank: passage.rank };
    if (system) body.system = system;
    return (await this.post("v1/grades", body)).graded;
  }

  get(path) {
    return this.ask(path, {});
  }

  post(path, body) {
    return this.ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  }

  async ask(path, how) {
    const key = sessionStorage.getItem("key");
    const headers = { ...how.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...how, headers });
    } catch {
      throw new Error("the server does not answer; is it still running?");
    }
    const found = await answer.json().catch(() => ({}));
    if (answer.status === 401) $("unlock").hidden = false;
    if (!answer.ok) throw new Error(found.error?.message ?? `the server answers ${answer.status}`);
    return found;
  }
}

/* What stands in the page: questions of the test, and what was found for them when it was read. */
class Stored {
  own = false;
  model = null;
  graded = new Map();

  constructor(run) {
    this.run = run;
    this.byText = new Map(run.questions.map((question) => [folded(question.text), question]));
  }

  async begin() {
    return [];
  }

  async describe() {
    return { ...this.run, graded: 0, domains: [] };
  }

  async search(query, system) {
    const question = this.byText.get(folded(query));
    if (!question) throw new Error("this file knows questions of the test only; for your own: denizen serve RUN");
    const found = question.found[system];
    const passages = found.passages.map((passage, at) => {
      const grade = this.graded.get(this.key(query, passage.doc_id))?.grade ?? null;
      return { ...passage, ...this.run.passages[passage.doc_id], rank: at + 1, grade };
    });
    return { passages, ranks: new Map(Object.entries(found.ranks)) };
  }

  async grade(query, passage, grade, system) {
    const question = this.byText.get(folded(query));
    this.saved = false;
    this.graded.set(this.key(query, passage.doc_id), {
      query,
      doc_id: passage.doc_id,
      grade,
      query_id: question.query_id,
      title: passage.title ?? "",
      passage: passage.text ?? "",
      parent_id: passage.parent_id ?? null,
      system,
      rank: passage.rank,
      when: new Date().toISOString(),
    });
    return [...this.graded.values()].filter((row) => row.grade !== null).length;
  }

  key(query, docId) {
    return JSON.stringify([folded(query), docId]);
  }

  download() {
    const rows = [...this.graded.values()].map((row) => JSON.stringify(row) + "\n");
    const link = el("a", { href: URL.createObjectURL(new Blob(rows, { type: "application/jsonl" })), download: "grades.jsonl" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.saved = true;
  }
}

const stored = $("stored");
const source = stored ? new Stored(JSON.parse(stored.textContent)) : new Served();
const state = { run: null, systems: [], query: "", found: new Map(), column: 0, row: 0, asked: 0 };

/* --- what is asked --- */

async function begin() {
  try {
    const models = await source.begin();
    $("unlock").hidden = true;
    $("model").replaceChildren(...models.map((name) => el("option", { value: name }, name)));
    $("model").hidden = models.length < 2;
    await choose(models[0] ?? null);
  } catch (error) {
    say(error.message);
  }
}

async function choose(model) {
  source.model = model;
  state.found.clear();
  $("found").replaceChildren();
  $("answer").hidden = $("another").hidden = true;
  $("begin").hidden = false;
  try {
    say("loading …");
    const run = await source.describe();
    say("");
    show(run);
    const asked = new URLSearchParams(location.hash.slice(1)).get("q");
    if (asked) ask(asked);
    else $("question").focus();
  } catch (error) {
    state.run = null;
    say(error.message);
  }
}

function show(run) {
  state.run = run;
  // a retriever that is no run of adapt has but itself
  const systems = run.systems.length ? run.systems : [{ name: "", called: run.title }];
  const wide = window.matchMedia("(min-width: 1100px), (max-width: 700px)").matches;
  state.systems = systems.map((system, at) => ({ ...system, shown: wide || at === 0 || system.name === run.shipped }));
  document.title = `${run.title}: try it`;
  $("title").textContent = run.title;
  $("question").placeholder = source.own ? "Ask a question of your own" : "Choose a question of the test";
  $("questions").replaceChildren(...run.questions.map((question) => el("option", { value: question.text })));
  $("domains").hidden = run.domains.length < 2;
  $("domain").replaceChildren(el("option", { value: "" }, "all"), ...run.domains.map((name) => el("option", {}, name)));
  offer();
  showSystems();
  note(run.graded);
}

/* Some questions at random: the test was drawn evenly, and what is shown first is not chosen. */
function offer() {
  const tested = state.run.questions.filter((question) => question.set === "test");
  const some = tested.map((question) => [Math.random(), question]).sort((one, other) => one[0] - other[0]);
  $("tries").hidden = !tested.length;
  const chips = some.slice(0, OFFERED).map(([, question]) =>
    el("li", {}, el("button", { type: "button", title: question.text, onclick: () => ask(question.text) }, question.text)),
  );
  $("tries").replaceChildren(el("li", { class: "faint" }, "Of the test:"), ...chips);
}

function showSystems() {
  const buttons = state.systems.map((system) => {
    const figure = system["MRR@5"] === undefined ? "" : `MRR@5 ${system["MRR@5"].toFixed(3)}`;
    return el(
      "button",
      {
        type: "button",
        "data-kind": system.name,
        "aria-pressed": String(system.shown),
        title: figure ? `${figure} on the ${state.run.measured_on} questions of the test` : false,
        onclick: () => toggle(system),
      },
      el("span", { class: "dot" }),
      system.called,
      system.name === state.run.shipped ? el("span", { class: "figure" }, "shipped") : null,
      figure ? el("span", { class: "figure" }, el("span", { class: "wide" }, "MRR@5 "), system["MRR@5"].toFixed(3)) : null,
    );
  });
  $("systems").replaceChildren(...(state.run.systems.length ? buttons : []));
}

function toggle(system) {
  if (system.shown && state.systems.filter((each) => each.shown).length === 1) return;
  system.shown = !system.shown;
  showSystems();
  if (state.query) ask(state.query);
}

/* Asks all systems that are shown, and the base, since by it is told where a passage stood before. */
async function ask(query) {
  query = query.trim();
  if (!query || !state.run) return;
  $("question").value = query;
  if (query !== state.query) state.found.clear();
  Object.assign(state, { query, column: 0, row: 0, asked: state.asked + 1 });
  $("tries").hidden = $("begin").hidden = true;
  $("another").hidden = !state.run.questions.length;
  history.replaceState(null, "", `#${new URLSearchParams({ q: query })}`);
  const own = state.asked;
  const wanted = state.systems.filter((system, at) => (system.shown || at === 0) && !state.found.get(system.name)?.passages);
  for (const system of wanted) state.found.set(system.name, { waiting: true });
  draw();
  await Promise.all(
    wanted.map(async (system) => {
      let found;
      try {
        found = await source.search(query, system.name, $("domain").value);
      } catch (error) {
        found = { error: error.message };
      }
      // another question may have been asked since
      if (own !== state.asked && state.query !== query) return;
      state.found.set(system.name, found);
      draw();
    }),
  );
  if (own !== state.asked) return;
  if (document.activeElement === $("question")) $("question").blur();
  choosePassage(Math.max(0, columns().findIndex((system) => passagesOf(system).length)), 0, false);
  const failed = columns().every((system) => state.found.get(system.name)?.error);
  say(failed ? "" : `${columns().length === 1 ? "One system" : `${columns().length} systems`} side by side; ? for keys.`);
}

/* --- what is drawn --- */

const columns = () => state.systems.filter((system) => system.shown);
const passagesOf = (system) => state.found.get(system.name)?.passages ?? [];
const questionNow = () => state.run.questions.find((question) => folded(question.text) === folded(state.query));

function draw() {
  const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  lines.id = "lines";
  lines.setAttribute("aria-hidden", "true");
  $("found").replaceChildren(lines, ...columns().map(column));
  drawAnswer();
  mark();
}

function column(system, at) {
  const found = state.found.get(system.name) ?? { waiting: true };
  let inside;
  if (found.waiting) inside = el("ol", { class: "waiting", "aria-hidden": "true" }, ...[1, 2, 3].map(() => el("li", { class: "card" })));
  else if (found.error) inside = el("p", { class: "message" }, found.error);
  else if (!found.passages.length) inside = el("p", { class: "message" }, "nothing was found; try other words");
  else inside = el("ol", {}, ...found.passages.map((passage, row) => card(system, passage, at, row)));
  return el(
    "section",
    { class: "column", "data-kind": system.name, "aria-label": system.called, "aria-busy": String(Boolean(found.waiting)) },
    el("h2", {}, el("span", { class: "dot" }), system.called),
    inside,
  );
}

function card(system, passage, at, row) {
  const moved = move(system, passage);
  const known = questionNow()?.relevant.includes(passage.doc_id);
  const made = el(
    "li",
    {
      class: "card",
      tabindex: "-1",
      "data-doc": passage.doc_id,
      "aria-label": `Rank ${passage.rank} by ${system.called}${moved ? `, ${moved.told}` : ""}${known ? ", known to be right" : ""}${graded(passage)}`,
      onclick: (event) => {
        // whoever selects text reads it
        if (!window.getSelection().isCollapsed || event.target.closest("button")) return;
        choosePassage(at, row, false);
        expand();
      },
    },
    el(
      "div",
      { class: "place" },
      el("b", {}, String(passage.rank)),
      moved ? el("span", { class: `move ${moved.kind}` }, moved.text) : null,
      known ? el("span", { class: "known" }, "✓ known answer") : null,
    ),
    passage.title ? el("h3", {}, passage.title) : null,
    el("p", { class: "text" }, ...highlighted(passage)),
    el("p", { class: "from" }, from(passage)),
    state.run.graded === null ? null : grading(passage, at, row),
  );
  return made;
}

const graded = (passage) => (passage.grade ? `, graded ${passage.grade}` : "");

/* The text, what speaks most to the question marked where passages are read by windows. */
function highlighted(passage) {
  const letters = [...(passage.text ?? "")];
  if (!passage.window) return [passage.text ?? ""];
  const [begin, end] = passage.window;
  const part = (first, last) => letters.slice(first, last).join("");
  // a window deep inside would be out of sight
  const before = begin > 160 ? `… ${part(begin - 120, begin).replace(/^\S*\s/, "")}` : part(0, begin);
  return [before, el("mark", {}, part(begin, end)), part(end)];
}

function from(passage) {
  const document = passage.parent_id && passage.parent_id !== passage.doc_id ? `${passage.parent_id} · ` : "";
  const domain = passage.domain ? `${passage.domain} · ` : "";
  return `${domain}${document}${passage.doc_id} · score ${passage.score.toFixed(3)}`;
}

/* Where a passage stood by the base, and where it stands by what is shipped for the base itself. */
function move(system, passage) {
  const [base] = state.systems;
  const other = system === base ? state.systems.find((each) => each.name === state.run.shipped) : base;
  const ranks = other && other !== system ? state.found.get(other.name)?.ranks : null;
  if (!ranks) return null;
  const there = ranks.get(passage.doc_id);
  const [before, now] = system === base ? [passage.rank, there ?? Infinity] : [there ?? Infinity, passage.rank];
  const kind = now < before ? "up" : now > before ? "down" : "faint";
  const arrow = { up: "▲", down: "▼", faint: "=" }[kind];
  const place = there ?? "beyond 100";
  const words = system === base ? "now" : "was";
  return { kind, text: kind === "faint" ? `${arrow} same` : `${arrow} ${words} ${place}`, told: `${words} ${place}` };
}

function grading(passage, at, row) {
  const buttons = [1, 2, 3, 4].map((grade) =>
    el(
      "button",
      {
        type: "button",
        tabindex: "-1",
        title: MEANING[grade],
        "aria-label": `Grade ${grade}: ${MEANING[grade]}`,
        "aria-pressed": String(passage.grade === grade),
        onclick: () => {
          choosePassage(at, row, false);
          give(passage.grade === grade ? null : grade);
        },
      },
      String(grade),
    ),
  );
  return el("div", { class: "grades", role: "group", "aria-label": "Grade" }, ...buttons);
}

/* Of a question whose answer is known, where each system has it. */
function drawAnswer() {
  const question = questionNow();
  const known = question?.relevant ?? [];
  const places = columns().map((system) => {
    const ranks = state.found.get(system.name)?.ranks;
    const best = ranks ? Math.min(...known.map((docId) => ranks.get(docId) ?? Infinity)) : null;
    const told = best === null ? "…" : best === Infinity ? "beyond 100" : `rank ${best}`;
    return el("p", { "data-kind": system.name }, el("b", {}, told), ` ${system.called}`);
  });
  $("answer").replaceChildren(el("p", { class: "faint" }, "The known answer"), ...places);
  $("answer").hidden = !known.length;
}

/* Lines from where a passage stands in one column to where it stands in the next. */
function connect() {
  const lines = $("lines");
  if (!lines) return;
  lines.replaceChildren();
  const origin = $("found").getBoundingClientRect();
  const sides = [...document.querySelectorAll(".column")].map((each) => new Map([...each.querySelectorAll(".card[data-doc]")].map((card, at) => [card.dataset.doc, [card, at]])));
  for (let at = 0; at + 1 < sides.length; at += 1) {
    for (const [docId, [left, before]] of sides[at]) {
      if (!sides[at + 1].has(docId)) continue;
      const [right, after] = sides[at + 1].get(docId);
      const [one, other] = [left.getBoundingClientRect(), right.getBoundingClientRect()];
      const [x, y, to, end] = [one.right - origin.left, one.top + 28 - origin.top, other.left - origin.left, other.top + 28 - origin.top];
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      const middle = (x + to) / 2;
      path.setAttribute("d", `M${x} ${y}C${middle} ${y} ${middle} ${end} ${to} ${end}`);
      path.setAttribute("class", `${after < before ? "up" : after > before ? "down" : ""} ${docId === chosenPassage()?.doc_id ? "chosen" : ""}`);
      lines.append(path);
    }
  }
}

/* --- what is chosen and graded --- */

const chosenPassage = () => passagesOf(columns()[state.column] ?? { name: null })[state.row];
const cardAt = (at, row) => document.querySelectorAll(".column")[at]?.querySelectorAll(".card[data-doc]")[row];

function choosePassage(at, row, focus = true) {
  at = Math.max(0, Math.min(at, columns().length - 1));
  const last = passagesOf(columns()[at] ?? { name: null }).length - 1;
  Object.assign(state, { column: at, row: Math.max(0, Math.min(row, last)) });
  mark();
  if (focus) cardAt(state.column, state.row)?.focus();
}

/* The next system to the left or right that has found something. */
function chooseColumn(step) {
  let at = state.column + step;
  while (columns()[at] && !passagesOf(columns()[at]).length) at += step;
  if (columns()[at]) choosePassage(at, state.row);
}

/* Shows which passage is chosen, here and where else it was found. */
function mark() {
  const docId = chosenPassage()?.doc_id;
  const own = cardAt(state.column, state.row);
  for (const card of document.querySelectorAll(".card[data-doc]")) {
    card.classList.toggle("chosen", card === own);
    card.classList.toggle("same", card !== own && card.dataset.doc === docId);
    card.tabIndex = card === own ? 0 : -1;
    for (const button of card.querySelectorAll("button")) button.tabIndex = card === own ? 0 : -1;
  }
  connect();
}

function expand() {
  cardAt(state.column, state.row)?.classList.toggle("open");
  connect();
}

async function give(grade) {
  const passage = chosenPassage();
  if (!passage || state.run.graded === null) return;
  const [query, system, at, row] = [state.query, columns()[state.column].name, state.column, state.row];
  try {
    state.run.graded = await source.grade(query, passage, grade, system);
  } catch (error) {
    say(error.message);
    return;
  }
  if (query !== state.query) return;
  for (const found of state.found.values()) {
    for (const other of found.passages ?? []) if (other.doc_id === passage.doc_id) other.grade = grade;
  }
  redrawGrades(passage.doc_id, grade);
  choosePassage(at, row);
  say(grade ? `Graded ${grade}: ${MEANING[grade]}.` : "The grade is taken back.");
  note(state.run.graded);
}

function redrawGrades(docId, grade) {
  for (const card of document.querySelectorAll(".card[data-doc]")) {
    if (card.dataset.doc !== docId) continue;
    card.querySelectorAll(".grades button").forEach((button, at) => button.setAttribute("aria-pressed", String(at + 1 === grade)));
    const label = card.getAttribute("aria-label").replace(/, graded \d$/, "");
    card.setAttribute("aria-label", grade ? `${label}, graded ${grade}` : label);
  }
}

function say(text) {
  $("said").textContent = text;
}

function note(count) {
  const told = count ? `${count} ${count === 1 ? "passage is" : "passages are"} graded. ` : "";
  const where = source.own
    ? "Grades stand in grades.jsonl in the run's folder: denizen adapt --grades learns from them, denizen audit --people compares them with a judge."
    : "This file holds questions of the test and what was found for them. Questions of your own need denizen serve RUN.";
  $("note").textContent = count === null ? "" : `${told}${where}`;
  $("download").hidden = source.own || !count;
}

function another() {
  const questions = state.run?.questions ?? [];
  if (questions.length) ask(questions[Math.floor(Math.random() * questions.length)].text);
}

/* --- keys --- */

const KEYS = {
  "/": () => $("question").select(),
  j: () => choosePassage(state.column, state.row + 1),
  k: () => choosePassage(state.column, state.row - 1),
  h: () => chooseColumn(-1),
  l: () => chooseColumn(1),
  n: another,
  Enter: expand,
  "?": () => $("help").showModal(),
  0: () => give(null),
  1: () => give(1),
  2: () => give(2),
  3: () => give(3),
  4: () => give(4),
};
Object.assign(KEYS, { ArrowDown: KEYS.j, ArrowUp: KEYS.k, ArrowLeft: KEYS.h, ArrowRight: KEYS.l });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const typing = event.target.closest("input, select");
  if (typing && event.key === "Escape") {
    typing.blur();
    choosePassage(state.column, state.row);
  }
  const does = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!does || typing || (event.key === "Enter" && event.target.closest("button"))) return;
  // arrows scroll as long as there is nothing to move between
  if (event.key.startsWith("Arrow") && !chosenPassage()) return;
  event.preventDefault();
  does();
});

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask($("question").value);
});
$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value);
  $("key").value = "";
  begin();
});
$("model").addEventListener("change", () => choose($("model").value));
$("domain").addEventListener("change", () => {
  state.found.clear();
  ask(state.query);
});
$("help-open").addEventListener("click", () => $("help").showModal());
$("another").addEventListener("click", another);
$("download").addEventListener("click", () => source.download());
window.addEventListener("resize", connect);
window.addEventListener("beforeunload", (event) => {
  // what nobody has saved is gone with the page
  if (source.graded?.size && !source.saved) event.preventDefault();
});
begin();
