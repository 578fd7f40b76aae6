"use strict";
/* Pages that show news by themselves: what changed is told to whoever does not see it, and so is a lost connection. */
(() => {
  const announce = (text) => { document.getElementById("announcer").textContent = text; };

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
  const live = () => ["#page", "#results", "#workers", "#activity"].find((part) => document.querySelector(part));
  const asks = () => ["#workers", "#activity"].includes(live());  // again and again, where others listen
  const quiet = 4500;  // milliseconds
  const away = new Set([502, 503, 504]);
  const banner = document.getElementById("lost");
  let stream, silence, retry, leaving = false;

  const listens = () => asks() || (stream && stream.readyState !== EventSource.CLOSED);
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
  if (asks()) heard();
  addEventListener("pagehide", () => { leaving = true; });
  addEventListener("pageshow", () => { leaving = false; });

  // How far it is, of all that arrives on this page, so that a tab in the background tells, too.
  htmx.onLoad(() => {
    const bars = [...document.querySelectorAll("main progress[data-progress][value]")];
    const sum = (name) => bars.reduce((all, bar) => all + Number(bar.getAttribute(name)), 0);
    const plain = document.title.replace(/^\d+ % · /, "");
    document.title = bars.length ? `${Math.floor(100 * sum("value") / sum("max"))} % · ${plain}` : plain;
  });

  // A browser has a few connections for each server: pages that nobody looks at leave theirs, and are renewed later.
  document.addEventListener("visibilitychange", () => {
    clearTimeout(silence);
    clearTimeout(retry);
    if (document.hidden) stream?.close();
    else if (live()) renew(live());
  });
})();
