"use strict";
/* Tells of downloads that ended, where the browser allows it and its user asked for it: also from a page in the background. */
(() => {
  const button = document.getElementById("notify");
  if (!button || !window.Notification || !window.isSecureContext) return;
  const every = 10000;  // milliseconds
  const wanted = "depot-notify", place = "depot-news";
  const on = () => Notification.permission === "granted" && localStorage.getItem(wanted) === "on";
  let waiting;

  const show = (one) => {
    const ready = one.state === "success";
    // The tag: of several pages that tell the same, one is seen.
    const note = new Notification(`${one.name} ${ready ? "is ready" : "failed"}`, { body: one.message, tag: one.id });
    note.addEventListener("click", () => {
      window.focus();
      location.href = one.address;
    });
  };

  const ask = async () => {
    clearTimeout(waiting);
    if (!on()) return;
    const since = sessionStorage.getItem(place);
    const query = since ? `?since=${since}` : "";
    try {
      const answer = await fetch(`${document.body.dataset.root}/console/news${query}`, { redirect: "manual" });
      if (answer.type === "opaqueredirect") return;  // signed out
      if (answer.ok) {
        const told = await answer.json();
        sessionStorage.setItem(place, told.since);
        told.news.forEach(show);
      }
    } catch { /* the server is away: it is asked again */ }
    waiting = setTimeout(ask, every);
  };

  const label = () => {
    button.setAttribute("aria-pressed", String(on()));
    button.textContent = on() ? "Notifications: on" : Notification.permission === "denied" ? "Notifications: blocked" : "Notifications: off";
  };
  button.addEventListener("click", async () => {
    localStorage.setItem(wanted, on() ? "off" : "on");
    sessionStorage.removeItem(place);
    if (Notification.permission === "default") await Notification.requestPermission();
    label();
    ask();
  });
  label();
  button.hidden = false;
  ask();
})();
