// What scripts add to pages that work without them: liveness that does not get in the way, toasts, keys.
"use strict";

(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---------- toasts ----------
  const STAY_MS = 6000;

  function armToast(toast) {
    let timer = 0;
    const isError = ["error", "warning"].includes(toast.dataset.level);
    if (isError) {
      const close = document.createElement("button");
      close.type = "button";
      close.className = "btn quiet sm";
      close.textContent = "Close";
      close.addEventListener("click", () => toast.remove());
      toast.append(close);
      return;
    }
    const start = () => { timer = setTimeout(() => toast.remove(), STAY_MS); };
    const hold = () => clearTimeout(timer);
    toast.addEventListener("mouseenter", hold);
    toast.addEventListener("focusin", hold);
    toast.addEventListener("mouseleave", start);
    toast.addEventListener("focusout", start);
    start();
  }

  function say(text, level) {
    const toast = document.createElement("div");
    toast.className = "toast";
    toast.dataset.level = level;
    const shape = $(`#toast-${level === "error" ? "error" : "success"}`);
    if (shape) toast.append(shape.content.cloneNode(true));
    const words = document.createElement("p");
    words.textContent = text;
    toast.append(words);
    $("#toasts").append(toast);
    armToast(toast);
  }

  // ---------- live parts ----------
  // A part waits for its next turn while somebody uses it; an answer that changed nothing is not swapped in; after
  // three faults in a row it is asked less and less often, and looks as old as it is.
  const lastAnswer = new Map();
  const faults = new Map();

  const isPolled = (element) => (element.getAttribute("hx-trigger") || "").startsWith("every");

  function isInUse(element) {
    const focused = document.activeElement;
    const isField = focused && element.contains(focused) && focused.matches("input, select, textarea");
    const selection = document.getSelection();
    const isSelected = selection && !selection.isCollapsed && element.contains(selection.anchorNode);
    return isField || isSelected || $("details.menu[open], :popover-open", element) !== null;
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    const element = event.detail.elt;
    if (!isPolled(element)) return;
    const fault = faults.get(element.id);
    const mustWait = fault && fault.count >= 3 && Date.now() < fault.next;
    if (document.hidden || mustWait || isInUse(element)) event.preventDefault();
  });

  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.id !== "news") return;
    event.detail.parameters.rows = $$("tr[data-active]").map((row) => row.dataset.active).join(",");
  });

  let before = null;

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { elt, xhr } = event.detail;
    if (!isPolled(elt)) return;
    if (xhr.status === 401) { location.reload(); return; }
    faults.delete(elt.id);
    elt.classList.remove("old");
    if (isInUse(elt) || lastAnswer.get(elt.id) === xhr.responseText) { event.detail.shouldSwap = false; return; }
    lastAnswer.set(elt.id, xhr.responseText);
    const region = $(".scroll:focus", elt);
    before = { status: elt.dataset.status, open: $$("details[open]", elt).map((each) => each.className),
      focus: document.activeElement && elt.contains(document.activeElement) ? document.activeElement : null,
      region: region ? region.getAttribute("aria-label") : null, scroll: $$(".scroll", elt).map((each) => each.scrollLeft) };
    if (before.focus) before.href = before.focus.getAttribute("href") || before.focus.getAttribute("formaction");
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const id = event.detail.target.id;
    const now = id && document.getElementById(id);
    if (!now || !before) return;
    $$(".scroll", now).forEach((each, index) => { each.scrollLeft = before.scroll[index] || 0; });
    $$("details.as-table", now).forEach((each) => { each.open = before.open.includes("as-table"); });
    if (before.focus && !document.contains(before.focus)) {
      const same = before.href && $$(`[href="${CSS.escape(before.href)}"], [formaction="${CSS.escape(before.href)}"]`, now)[0];
      const twin = same || (before.region && $(`[aria-label="${CSS.escape(before.region)}"]`, now)) || $("h1", now);
      if (twin) { if (twin.matches("h1")) twin.tabIndex = -1; twin.focus({ preventScroll: true }); }
    }
    if (before.status && now.dataset.status && before.status !== now.dataset.status) {
      const isOver = !["QUEUED", "RUNNING"].includes(now.dataset.status);
      if (isOver) say(now.dataset.said, now.dataset.status === "ERROR" ? "error" : "success");
    }
    before = null;
    rove(now);
    drawRate(now);
  });

  const onFault = (event) => {
    const element = event.detail.elt;
    if (!isPolled(element)) return;
    if (event.detail.xhr && event.detail.xhr.status === 401) { location.reload(); return; }
    const fault = faults.get(element.id) || { count: 0, since: new Date() };
    fault.count += 1;
    fault.next = Date.now() + Math.min(60000, 2000 * 2 ** (fault.count - 2));
    faults.set(element.id, fault);
    if (fault.count === 3) {
      element.classList.add("old");
      element.title = `Not refreshed since ${fault.since.toLocaleTimeString()}: the server does not answer`;
    }
  };
  document.addEventListener("htmx:responseError", onFault);
  document.addEventListener("htmx:sendError", onFault);

  // ---------- rows per second since the page was opened ----------
  const SAMPLES = 151;
  const samples = [];

  function drawRate(part) {
    const figure = $("figure[data-rows]", part);
    if (!figure) return;
    samples.push([performance.now() / 1000, Number(figure.dataset.rows)]);
    if (samples.length > SAMPLES) samples.shift();
    const rates = samples.slice(1).map(([at, rows], index) => Math.max(0, (rows - samples[index][1]) / (at - samples[index][0])));
    if (rates.length < 2) return;
    const top = Math.max(1, ...rates);
    const points = rates.map((rate, index) => `${(index / (rates.length - 1) * 100).toFixed(2)},${(44 - rate / top * 42).toFixed(2)}`).join(" ");
    $("polyline", figure).setAttribute("points", points);
    $("polygon", figure).setAttribute("points", `0,44 ${points} 100,44`);
    figure.hidden = false;
  }

  // ---------- strips: one tab stop each, arrows move within ----------
  function rove(root) {
    for (const picture of $$('svg[role="group"]', root)) {
      const bars = $$("a", picture);
      const last = bars[bars.length - 1];
      if (last) last.setAttribute("tabindex", "0");
    }
  }

  document.addEventListener("keydown", (event) => {
    const bar = event.target.closest && event.target.closest('svg[role="group"] a');
    if (!bar) return;
    const bars = $$("a", bar.closest('svg[role="group"]'));
    const at = bars.indexOf(bar);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: bars.length - 1 }[event.key];
    if (to === undefined || !bars[to]) return;
    event.preventDefault();
    bar.setAttribute("tabindex", "-1");
    bars[to].setAttribute("tabindex", "0");
    bars[to].focus();
  });

  // ---------- keys ----------
  const isTyping = (target) => target.matches("input:not([type=checkbox]):not([type=radio]), select, textarea, [contenteditable]");
  let wentG = 0;

  function moveRow(step) {
    const rows = $$("table.list tbody tr").filter((row) => $("a", row) && !row.closest("[hidden]"));
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("at-row"));
    rows.forEach((row) => row.classList.remove("at-row"));
    const row = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
    row.classList.add("at-row");
    $("th a, td a", row).focus();
    row.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      $$("details.menu[open]").forEach((menu) => { menu.open = false; $("summary", menu).focus(); });
      if (isTyping(event.target)) event.target.blur();
      return;
    }
    if (isTyping(event.target)) return;
    const isSecond = Date.now() - wentG < 1200;
    wentG = 0;
    if (isSecond) {
      const link = $(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.assign(link.href); return; }
      if (event.key === "g" && window.eltLog) { event.preventDefault(); window.eltLog.first(); return; }
    }
    const button = event.key.length === 1 && $(`[data-key="${CSS.escape(event.key)}"]:not(:disabled)`);
    if (event.key === "g") wentG = Date.now();
    else if (event.key === "/") { const field = $("#lq") || $("#find"); if (field) { event.preventDefault(); field.focus(); field.select(); } }
    else if (event.key === "?") { const sheet = $("#keys"); if (sheet && sheet.togglePopover) sheet.togglePopover(); }
    else if (event.key === "j") moveRow(1);
    else if (event.key === "k") moveRow(-1);
    else if (button) button.click();
    else if (window.eltLog && window.eltLog.key(event.key)) event.preventDefault();
  });

  // Menus close when one clicks beside them.
  document.addEventListener("click", (event) => {
    $$("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });

  // A second press while a form is on its way would ask twice.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) { event.preventDefault(); return; }
    event.target.dataset.sent = "1";
    setTimeout(() => { delete event.target.dataset.sent; }, 5000);
  });
  window.addEventListener("pageshow", () => $$("form[data-sent]").forEach((form) => delete form.dataset.sent));

  $$(".toast").forEach(armToast);
  rove(document);
  drawRate(document);
})();
