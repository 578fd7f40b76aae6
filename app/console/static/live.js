"use strict";
/* Pages that show news by themselves: one stream of events for each, which nothing but this opens. After a loss the page
   is loaded anew, as it may have missed something, and listens anew with that. */
(() => {
  const announce = (text) => { document.getElementById("announcer").textContent = text; };
  const live = () => ["#page", "#results", "#workers", "#activity"].find((part) => document.querySelector(part));
  const renew = (part) => htmx.ajax("GET", location.href, { target: part, select: part, swap: "outerHTML" });
  let stream, part, later, place;

  const show = (shown, piece) => {
    const page = new DOMParser().parseFromString(`<template>${piece}</template>`, "text/html");
    const now = page.querySelector("template").content.querySelector("[data-model]")?.dataset || {};
    const before = shown.dataset;
    if (now.digest === before.digest) return;
    if (now.status !== before.status) announce(`${before.name}: ${now.word || "deleted"}`);
    // More than its head is another now: files, buttons, history.
    if (before.stage && now.stage !== before.stage && now.stage !== "gone") renew("#page");
    else {
      place = scrollY;
      htmx.swap(shown, piece, { swapStyle: "outerHTML", swapDelay: 0, settleDelay: 0 });
    }
  };

  const hush = () => {
    stream?.close();
    clearTimeout(later);
    stream = part = later = undefined;
  };
  const listen = () => {
    const found = document.querySelector("[data-events]");
    if (found === part) return;
    hush();
    if (!found || document.hidden) return;
    part = found;
    const mine = stream = new EventSource(part.dataset.events);
    for (const { dataset } of part.querySelectorAll("[data-model]")) {
      mine.addEventListener(`model-${dataset.model}`, ({ data }) => {
        const shown = document.querySelector(`[data-events] [data-model="${dataset.model}"]`);
        if (shown) show(shown, data);
      });
    }
    // It is told how long to wait, as not all who look at the list should load it at once.
    mine.addEventListener("list", ({ data }) => {
      later ??= setTimeout(() => {
        later = undefined;
        renew("#results");
      }, Number(data));
    });
    mine.addEventListener("open", connection.heard);
    mine.addEventListener("still-here", connection.heard);
    mine.addEventListener("signed-out", () => {
      mine.close();
      connection.leave();
      renew(live());  // which leads to the sign-in
    });
    mine.addEventListener("error", () => {
      mine.close();
      if (mine === stream) connection.lost();
    });
  };

  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    place = scrollY;
    // Of another search, by now.
    const { path } = detail.requestConfig;
    if (path.startsWith(location.origin) && path !== location.href) detail.shouldSwap = false;
  });
  // What is kept is at the end of the page meanwhile, and a browser goes there if it has the focus.
  document.addEventListener("htmx:afterSwap", () => scrollTo({ top: place, behavior: "instant" }));
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (detail.xhr.status === 404 && live() && detail.target.matches(live())) location.reload();  // it was deleted
  });
  // A browser has a few connections for each server: pages that nobody looks at leave theirs, and are renewed later.
  document.addEventListener("visibilitychange", () => { if (document.hidden) hush(); });

  htmx.onLoad(() => {
    listen();
    // How far it is, of all that arrives on this page, so that a tab in the background tells, too.
    const bars = [...document.querySelectorAll("main progress[data-progress][value]")];
    const sum = (name) => bars.reduce((all, bar) => all + Number(bar.getAttribute(name)), 0);
    const plain = document.title.replace(/^\d+ % · /, "");
    document.title = bars.length ? `${Math.floor(100 * sum("value") / sum("max"))} % · ${plain}` : plain;
  });
  if (live()) connection.follow(() => renew(live()));
})();
