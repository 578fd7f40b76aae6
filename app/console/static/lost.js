"use strict";
/* Whether the server answers: a page says when it does not, tries again until it does, and sends no form before. */
const connection = (() => {
  const quiet = 4500;  // milliseconds: a page with news is told or asks every three seconds at most
  const away = new Set([502, 503, 504]);
  const banner = document.getElementById("lost");
  const announce = (text) => { document.getElementById("announcer").textContent = text; };
  let silence, retry, follows = false, leaving = false;

  const answers = async () => {
    const small = document.querySelector("link[rel=icon]").href;
    try {
      const answer = await fetch(small, { cache: "no-store", signal: AbortSignal.timeout(5000) });
      return !away.has(answer.status);
    } catch {
      return false;
    }
  };

  const wait = () => {
    clearTimeout(silence);
    clearTimeout(retry);
  };
  const lost = () => {
    if (leaving || document.hidden) return;
    if (banner.hidden) announce(banner.textContent);
    banner.hidden = false;
    wait();
    retry = setTimeout(() => again(), 2000);
  };
  const heard = () => {
    if (!banner.hidden) announce("Connected again");
    banner.hidden = true;
    wait();
    if (follows && !document.hidden) silence = setTimeout(lost, quiet);
  };
  let again = async () => ((await answers()) ? heard() : lost());

  for (const failure of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(failure, lost);
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (away.has(detail.xhr.status)) lost();
    else if (detail.xhr.status) heard();
  });
  document.addEventListener("visibilitychange", () => {
    wait();
    if (!document.hidden && (follows || !banner.hidden)) again();
  });
  addEventListener("pagehide", () => { leaving = true; });
  addEventListener("pageshow", () => { leaving = false; });

  // The browser's page of an error would take the place of this one, and of what was typed.
  const asking = new WeakSet();
  addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    if (event.defaultPrevented || form.getAttribute("method") === "dialog") return;
    event.preventDefault();
    if (asking.has(form)) return;
    asking.add(form);
    // What it says now: news may bring another form into its place meanwhile.
    const sent = document.createElement("form");
    sent.hidden = true;
    for (const name of ["method", "action"]) sent.setAttribute(name, form.getAttribute(name) || "");
    for (const [name, value] of new FormData(form, button)) {
      const field = document.createElement("input");
      Object.assign(field, { type: "hidden", name, value });
      sent.append(field);
    }
    if (await answers()) {
      document.body.append(sent);
      HTMLFormElement.prototype.submit.call(sent);  // a field may be called so
    } else {
      lost();
    }
    asking.delete(form);
  });

  return {
    lost,
    heard,
    // For pages with news: what loads them anew. They are lost, too, when they hear nothing.
    follow: (how) => {
      again = how;
      follows = true;
      heard();
    },
    leave: () => { leaving = true; },
  };
})();
