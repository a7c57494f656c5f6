// The log viewer: ranges of lines on demand, so that a million lines scroll like a hundred; follow, search, marks.
"use strict";

(() => {
  const panel = document.getElementById("log");
  const view = document.getElementById("logview");
  const body = document.getElementById("loglines");
  if (!panel || !view || !body) return;

  const ROW = 20;            // px of a line; the style sheet says the same
  const BLOCK = 200;         // lines asked for at once
  const BLOCKS_KEPT = 60;
  const TALLEST = 8000000;   // px; browsers cut elements off not far above it, so a longer log is scaled
  const EXTRA = 40;          // rows drawn above and below those in view
  const WAIT_MS = 1000, HIDDEN_WAIT_MS = 10000;
  const byId = (id) => document.getElementById(id);
  const grouped = (number) => number.toLocaleString("en-GB");

  const address = panel.dataset.log;
  const table = view.querySelector("table");
  const head = table.querySelector("thead");
  const field = byId("lq"), level = byId("llev"), follow = byId("follow"), wrap = byId("wrap");
  let total = Number(panel.dataset.total);
  let isFinal = panel.dataset.final === "1";
  let firstError = panel.dataset.firstError === "" ? null : Number(panel.dataset.firstError);
  let marked = null;         // the linked line
  let matches = [], matchAt = -1, hasMore = false, query = "";
  let filtered = null;       // lines of a level filter: a list of its own
  let drawn = "";
  const blocks = new Map();  // number of block -> its lines
  const asked = new Map();

  // ---------- lines from the server ----------
  async function get(parameters) {
    const answer = await fetch(`${address}?${new URLSearchParams(parameters)}`, { headers: { Accept: "application/json" } });
    if (answer.status === 401) location.reload();
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const data = await answer.json();
    if (data.total > total) { total = data.total; byId("log-total").textContent = grouped(total); }
    if (data.firstError !== null) firstError = data.firstError;
    isFinal = data.isFinal;
    return data;
  }

  function isWhole(number) {
    const lines = blocks.get(number);
    return lines && (lines.length === BLOCK || (number + 1) * BLOCK > total && number * BLOCK + lines.length >= total);
  }

  function ask(number) {
    if (isWhole(number) || asked.has(number)) return asked.get(number);
    const request = get({ from: number * BLOCK, limit: BLOCK }).then((data) => {
      blocks.delete(number);
      blocks.set(number, data.lines.filter((line) => line[0] < (number + 1) * BLOCK));
      if (blocks.size > BLOCKS_KEPT) blocks.delete(blocks.keys().next().value);
    }).finally(() => asked.delete(number));
    asked.set(number, request);
    return request;
  }

  const count = () => (filtered ? filtered.lines.length : total);
  const lineAt = (index) => {
    if (filtered) return filtered.lines[index];
    const lines = blocks.get(Math.floor(index / BLOCK));
    return lines && lines[index % BLOCK];
  };

  // ---------- where one is ----------
  const space = () => view.clientHeight - head.offsetHeight;
  const seen = () => Math.max(1, Math.floor(space() / ROW));
  const height = () => Math.min(count() * ROW, TALLEST);
  const isScaled = () => count() * ROW > TALLEST;
  const topLine = () => {
    if (!isScaled()) return Math.floor(view.scrollTop / ROW);
    return Math.round(view.scrollTop / Math.max(1, height() - space()) * (count() - seen()));
  };
  const offsetOf = (index) => (isScaled() ? index / Math.max(1, count() - seen()) * (height() - space()) : index * ROW);

  // ---------- drawing ----------
  function cell(row, name, text) {
    const made = document.createElement("td");
    made.className = name;
    made.textContent = text;
    row.append(made);
    return made;
  }

  function markHits(made, text) {
    const lower = text.toLowerCase(), wanted = query.toLowerCase();
    let from = 0, at = lower.indexOf(wanted);
    made.textContent = "";
    while (at !== -1) {
      const hit = document.createElement("mark");
      hit.textContent = text.slice(at, at + wanted.length);
      made.append(text.slice(from, at), hit);
      from = at + wanted.length;
      at = lower.indexOf(wanted, from);
    }
    made.append(text.slice(from));
  }

  function rowOf(line) {
    const [number, time, source, word, name, text] = line;
    const tone = word === "error" ? " is-error" : word === "warning" ? " is-late" : "";
    const row = document.createElement("tr");
    row.className = `ln${tone}${number === marked || number === matches[matchAt] ? " at" : ""}`;
    row.id = `L${number}`;
    const link = document.createElement("a");
    link.href = `#L${number}`;
    link.textContent = grouped(number);
    cell(row, "n", "").append(link);
    cell(row, "t", time);
    cell(row, "src", source);
    cell(row, `lv${tone}`, name);
    const message = cell(row, "msg", text);
    if (query && text.toLowerCase().includes(query.toLowerCase())) markHits(message, text);
    return row;
  }

  function pad(pixels) {
    const row = document.createElement("tr");
    row.setAttribute("aria-hidden", "true");
    const made = document.createElement("td");
    made.colSpan = 5;
    made.style.height = `${Math.max(0, pixels)}px`;
    made.style.padding = "0";
    row.append(made);
    return row;
  }

  function missing(index) {
    const row = document.createElement("tr");
    row.className = "ln";
    cell(row, "n", grouped(index));
    cell(row, "t", ""); cell(row, "src", ""); cell(row, "lv", ""); cell(row, "msg", " ");
    return row;
  }

  function draw(isForced) {
    const top = Math.max(0, Math.min(topLine(), count() - 1));
    const first = Math.max(0, top - EXTRA);
    const last = Math.min(count(), top + seen() + EXTRA);
    if (!filtered) for (let block = Math.floor(first / BLOCK); block * BLOCK < last; block += 1) {
      const request = ask(block);
      if (request) request.then(() => draw(true)).catch(fail);
    }
    showWhere(top);
    const key = `${first}:${last}:${count()}`;
    if (key === drawn && !isForced) return;
    drawn = key;
    const above = isScaled() ? view.scrollTop - (top - first) * ROW : first * ROW;
    const rows = [pad(above)];
    for (let index = first; index < last; index += 1) {
      const line = lineAt(index);
      rows.push(line ? rowOf(line) : missing(index));
    }
    rows.push(pad(height() - above - (last - first) * ROW));
    keepPlace(() => body.replaceChildren(...rows));
    const blank = byId("log-blank");
    if (blank && count()) blank.remove();
  }

  // Wrapped lines are taller than a row: what was at the top stays there while rows around it are drawn anew.
  function keepPlace(change) {
    const focus = document.activeElement && body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const anchor = wrap.checked ? topRow() : null;
    const was = anchor ? anchor.getBoundingClientRect().top : 0;
    change();
    if (anchor) {
      const same = document.getElementById(anchor.id);
      if (same) view.scrollTop += same.getBoundingClientRect().top - was;
    }
    if (focus) { const link = body.querySelector(`a[href="${focus}"]`); if (link) link.focus({ preventScroll: true }); }
  }

  function topRow() {
    const edge = view.getBoundingClientRect().top + head.offsetHeight;
    return [...body.querySelectorAll("tr.ln[id]")].find((row) => row.getBoundingClientRect().bottom > edge) || null;
  }

  function showWhere(top) {
    const where = byId("log-where");
    const bottom = Math.min(count(), top + seen());
    if (filtered) where.textContent = `${grouped(count())}${filtered.next === null ? "" : " and more"} lines of level ${level.value}`;
    else if (follow.checked && !isFinal) where.textContent = "Following: new lines every second";
    else where.textContent = count() ? `Lines ${grouped(top)} to ${grouped(bottom - 1)}` : "No line yet";
    const mark = document.querySelector("#minimap .view");
    if (mark) {
      mark.setAttribute("y", `${count() ? top / count() * 100 : 0}%`);
      mark.setAttribute("height", `${count() ? Math.max(2, Math.min(100, (bottom - top) / count() * 100)) : 100}%`);
    }
  }

  function fail(error) {
    byId("log-where").textContent = `Lines could not be read: ${error.message}. They are asked for again when you scroll.`;
  }

  // ---------- moving ----------
  // The table gets its full height first: one cannot scroll to where nothing is yet.
  function scrollTo(pixels) {
    const wanted = Math.max(0, Math.min(pixels, height() - space()));
    const lacking = wanted + view.clientHeight - table.offsetHeight;
    if (lacking > 0) body.append(pad(lacking));
    view.scrollTop = wanted;
    draw(true);
  }

  function goTo(index, isMiddle) {
    scrollTo(offsetOf(Math.max(0, isMiddle ? index - Math.floor(seen() / 3) : index)));
  }

  const toEnd = () => { scrollTo(Infinity); if (wrap.checked) view.scrollTop = view.scrollHeight; };

  function goToLine(number) {
    setFollow(false);
    if (filtered) setLevel("");
    marked = number;
    goTo(number, true);
  }

  function setFollow(isOn) {
    follow.checked = isOn;
    if (isOn) { if (filtered) setLevel(""); toEnd(); }
    showWhere(topLine());
  }

  // ---------- new lines ----------
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    try {
      if (!document.hidden) {
        const had = total;
        const block = Math.floor(had / BLOCK);
        const data = await get({ from: had, limit: BLOCK });
        if (data.lines.length) {
          const held = blocks.get(block);
          if (held && held.length === had % BLOCK) blocks.set(block, held.concat(data.lines.filter((line) => line[0] < (block + 1) * BLOCK)));
          markErrors(data.lines);
          field.placeholder = `Search ${grouped(total)} lines`;
          draw(true);
          if (follow.checked) toEnd();
        } else if (isFinal) {
          setFinal();
          return;
        }
      }
    } catch (error) {
      fail(error);
    }
    timer = setTimeout(look, document.hidden ? HIDDEN_WAIT_MS : WAIT_MS);
  }

  function setFinal() {
    follow.checked = false;
    hideFollow();
    view.classList.toggle("short", total < 16);
    draw(true);
  }

  // Nothing is left to follow; the switch stays in place, out of sight, for what reads it.
  function hideFollow() {
    follow.parentElement.hidden = true;
    wrap.parentElement.parentElement.append(follow.parentElement);
  }

  function markErrors(lines) {
    const map = byId("minimap");
    for (const [number, , , word] of lines) {
      if (word !== "error" || !map || map.childElementCount > 400) continue;
      const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of Object.entries({ class: "b is-error", x: 3, width: 9, height: 3, y: `${Math.min(99.2, number / total * 100)}%` })) made.setAttribute(name, value);
      map.prepend(made);
    }
  }

  // ---------- search ----------
  let searchTimer = 0;

  async function search() {
    query = field.value.trim();
    matches = []; matchAt = -1; hasMore = false;
    const hits = byId("hits");
    if (!query) { hits.hidden = true; draw(true); return; }
    hits.hidden = false;
    byId("hit-count").textContent = "searching";
    const wanted = query;
    try {
      const data = await get({ matches: 1, q: query });
      if (wanted !== query) return;
      matches = data.numbers; hasMore = data.more;
    } catch (error) { fail(error); return; }
    if (matches.length) { const from = topLine(); stepMatch(0, matches.findIndex((number) => number >= from)); } else { showHits(); draw(true); }
  }

  function showHits() {
    byId("hit-count").textContent = matches.length ? `${grouped(matchAt + 1)} of ${grouped(matches.length)}${hasMore ? "+" : ""}` : "no match";
  }

  function stepMatch(step, to) {
    if (!matches.length) return;
    const wanted = to === undefined ? matchAt + step : Math.max(0, to);
    matchAt = (wanted + matches.length) % matches.length;
    showHits();
    goToLine(matches[matchAt]);
  }

  async function nextError() {
    const from = marked === null ? topLine() : marked + 1;
    const data = await get({ matches: 1, level: "error", from }).catch(fail);
    const found = data && data.numbers.length ? data.numbers[0] : firstError;
    if (found !== null && found !== undefined) goToLine(found);
  }

  // ---------- one level only ----------
  async function setLevel(value) {
    level.value = value;
    drawn = "";
    if (!value) { filtered = null; draw(true); return; }
    setFollow(false);
    filtered = { lines: [], next: 0 };
    await moreOfLevel();
    view.scrollTop = 0;
    draw(true);
  }

  async function moreOfLevel() {
    if (!filtered || filtered.next === null || filtered.isAsking) return;
    const mine = filtered;
    mine.isAsking = true;
    const data = await get({ level: level.value, from: mine.next, limit: 1000 }).catch(fail);
    mine.isAsking = false;
    if (!data) return;
    mine.lines.push(...data.lines);
    mine.next = data.lines.length === 1000 ? data.lines[data.lines.length - 1][0] + 1 : null;
  }

  // ---------- wiring ----------
  let frame = 0, lastTop = 0;
  view.addEventListener("scroll", () => {
    if (view.scrollTop < lastTop - 2 && follow.checked && view.scrollTop + view.clientHeight < view.scrollHeight - ROW * 2) setFollow(false);
    lastTop = view.scrollTop;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      draw(false);
      if (filtered && topLine() + seen() > count() - 100) moreOfLevel().then(() => draw(false));
    });
  }, { passive: true });
  follow.addEventListener("change", () => setFollow(follow.checked));
  wrap.addEventListener("change", () => keepPlace(() => view.classList.toggle("wrap", wrap.checked)));
  level.addEventListener("change", () => setLevel(level.value));
  field.addEventListener("input", () => { clearTimeout(searchTimer); searchTimer = setTimeout(search, 300); });
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim() !== query) search(); else stepMatch(1);
  });
  byId("hit-prev").addEventListener("click", () => stepMatch(-1));
  byId("hit-next").addEventListener("click", () => stepMatch(1));
  window.addEventListener("resize", () => draw(true));
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !isFinal) look(); });

  function fromAddress() {
    const found = /^#L(\d+)$/.exec(location.hash);
    if (!found) return false;
    goToLine(Number(found[1]));
    panel.scrollIntoView({ block: "nearest" });
    return true;
  }
  window.addEventListener("hashchange", fromAddress);
  body.addEventListener("click", (event) => {
    const link = event.target.closest("td.n a");
    if (!link) return;
    event.preventDefault();
    marked = Number(link.hash.slice(2));
    history.replaceState(null, "", link.hash);
    draw(true);
  });
  document.addEventListener("click", (event) => {  // the cause panel's lines, even when the address holds them already
    const link = event.target.closest('a[href^="#L"]');
    if (link && !body.contains(link) && link.hash === location.hash) fromAddress();
  });

  window.eltLog = {
    first() { setFollow(false); goTo(0, false); },
    key(name) {
      const actions = { n: () => stepMatch(1), N: () => stepMatch(-1), e: nextError, G: toEnd,
        f: () => { if (!isFinal) setFollow(!follow.checked); },
        w: () => { wrap.checked = !wrap.checked; wrap.dispatchEvent(new Event("change")); } };
      if (!actions[name]) return false;
      actions[name]();
      return true;
    },
  };

  byId("log-view").hidden = false;
  if (isFinal) hideFollow();
  if (!fromAddress()) { if (follow.checked) toEnd(); else if (total) goTo(Number(panel.dataset.start), false); else draw(true); }
  if (!isFinal) look();
})();
