"use strict";
/* What HTML and htmx leave: copying, asking before a delete, and telling what changed to whoever does not see it. */
(() => {
  const announce = (text) => { document.getElementById("announcer").textContent = text; };

  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Without TLS there is no clipboard but this one.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await copy(button.dataset.copy);
    } catch {
      announce("Could not copy");
      return;
    }
    button.focus();
    const word = button.firstChild;  // what follows says of what, to whoever does not see it
    word.data = "Copied";
    announce("Copied");
    setTimeout(() => { word.data = "Copy"; }, 2000);
  });

  const dialog = document.getElementById("confirm");
  let asked;

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.confirm || form.dataset.confirmed) return;
    event.preventDefault();
    asked = form;
    dialog.querySelector("p").textContent = form.dataset.confirm;
    dialog.querySelector("[value=yes]").textContent = form.dataset.yes;
    dialog.returnValue = "no";
    dialog.showModal();
  });

  dialog.addEventListener("close", () => {
    // This is told a moment later: whoever is quick has opened it again.
    if (dialog.open || dialog.returnValue !== "yes") return;
    // What changed meanwhile may have brought another form into its place.
    const form = asked.isConnected ? asked : [...document.forms].find((one) => one.action === asked.action);
    if (!form) return;
    const sure = document.createElement("input");
    Object.assign(sure, { type: "hidden", name: "sure", value: "yes" });
    form.append(sure);
    form.dataset.confirmed = "yes";
    form.requestSubmit();
    // A browser may show this very page again, and has to ask again then.
    delete form.dataset.confirmed;
    sure.remove();
  });

  const renew = (part) => htmx.ajax("GET", location.href, { target: part, select: part, swap: "outerHTML" });

  const told = (piece, name) => {
    const found = new DOMParser().parseFromString(`<template>${piece}</template>`, "text/html");
    const element = found.querySelector("template").content.querySelector("[data-model]");
    return element ? element.dataset[name] : undefined;
  };

  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const shown = event.target.closest("[data-model]");
    if (!shown) return;
    const piece = event.detail.data;
    const before = shown.dataset;
    if (told(piece, "digest") === before.digest) {
      event.preventDefault();
      return;
    }
    const status = told(piece, "status");
    if (status !== before.status) announce(`${before.name}: ${told(piece, "word") || "deleted"}`);
    const stage = told(piece, "stage");
    if (before.stage && stage !== before.stage && stage !== "gone") {
      // More than its head is another now: files, buttons, history.
      event.preventDefault();
      renew("#page");
    }
  });

  // What shows news by itself. It is told or asks every three seconds at most, and so knows soon that nobody answers.
  const live = () => ["#page", "#results", "#workers"].find((part) => document.querySelector(part));
  const quiet = 4500;  // milliseconds
  const away = new Set([502, 503, 504]);
  const banner = document.getElementById("lost");
  let stream, silence, retry, leaving = false;

  const listens = () => live() === "#workers" || (stream && stream.readyState !== EventSource.CLOSED);
  const lost = () => {
    if (leaving || document.hidden || !live()) return;
    if (banner.hidden) announce(banner.textContent);
    banner.hidden = false;
    clearTimeout(silence);
    clearTimeout(retry);
    retry = setTimeout(() => { if (!document.hidden) renew(live()); }, 2000);
  };
  const heard = () => {
    if (!banner.hidden) announce("Connected again");
    banner.hidden = true;
    clearTimeout(retry);
    clearTimeout(silence);
    silence = setTimeout(() => { if (listens()) lost(); }, quiet);
  };

  htmx.createEventSource = (address) => {
    stream?.close();
    stream = new EventSource(address);
    if (document.hidden) stream.close();
    const mine = stream;
    mine.addEventListener("open", heard);
    mine.addEventListener("still-here", heard);
    mine.addEventListener("signed-out", () => { leaving = true; });
    mine.addEventListener("error", () => {
      // It is opened anew with the page, which may have missed something.
      mine.close();
      if (mine === stream) lost();
    });
    return mine;
  };
  for (const failure of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(failure, lost);
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (away.has(detail.xhr.status)) lost();
    else if (detail.xhr.status === 404 && detail.target.matches(live())) location.reload();  // it was deleted
    else if (detail.xhr.status) heard();
  });
  if (live() === "#workers") heard();
  addEventListener("pagehide", () => { leaving = true; });
  addEventListener("pageshow", () => { leaving = false; });

  // A browser has a few connections for each server: pages that nobody looks at leave theirs, and are renewed later.
  document.addEventListener("visibilitychange", () => {
    clearTimeout(silence);
    clearTimeout(retry);
    if (document.hidden) stream?.close();
    else if (live()) renew(live());
  });
})();
