"use strict";
/* What HTML leaves: copying, questions before a delete, many rows at once, local times, and the choice of a theme. */
(() => {
  const announce = (text) => { document.getElementById("announcer").textContent = text; };
  const reveal = (parts) => parts.forEach((part) => { part.hidden = false; });

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
  const ticked = () => document.querySelectorAll("[form=bulk]:checked").length;
  let asked, pressed;

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const asks = event.submitter?.dataset.confirm ? event.submitter : form;
    if (!asks.dataset.confirm || form.dataset.confirmed) return;
    event.preventDefault();
    [asked, pressed] = [form, event.submitter?.value || ""];
    dialog.querySelector("p").textContent = asks.dataset.confirm.replace("{count}", ticked());
    dialog.querySelector("[value=yes]").textContent = asks.dataset.yes;
    dialog.querySelector("[value=no]").textContent = asks.dataset.no || "Cancel";
    dialog.returnValue = "no";
    dialog.showModal();
  });

  dialog.addEventListener("close", () => {
    // This is told a moment later: whoever is quick has opened it again.
    if (dialog.open || dialog.returnValue !== "yes") return;
    // What changed meanwhile may have brought another form into its place.
    // By their attributes: a button that is called "action" hides the form's property.
    const same = (one) => ["action", "id"].every((name) => one.getAttribute(name) === asked.getAttribute(name));
    const form = asked.isConnected ? asked : [...document.forms].find(same);
    if (!form) return;
    const sure = document.createElement("input");
    Object.assign(sure, { type: "hidden", name: "sure", value: "yes" });
    form.append(sure);
    form.dataset.confirmed = "yes";
    form.requestSubmit([...form.elements].find((one) => one.type === "submit" && one.value === pressed));
    // A browser may show this very page again, and has to ask again then.
    delete form.dataset.confirmed;
    sure.remove();
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) {
      document.querySelectorAll("[form=bulk]").forEach((box) => { box.checked = event.target.checked; });
    } else if (!event.target.matches("[form=bulk]")) return;
    count();
  });
  const count = () => {
    document.querySelectorAll("[data-ticked]").forEach((part) => { part.textContent = `${ticked()} selected`; });
    offer();
  };
  // Only what can be done with one of the ticked rows.
  const offer = () => document.querySelectorAll("[data-for]").forEach((button) => {
    button.hidden = !button.dataset.for.split(" ").some((word) => document.querySelector(`[data-word=${word}] [form=bulk]:checked`));
  });

  // Times come in UTC with how long ago they were, and are shown in the browser's time zone.
  const year = new Date().getFullYear();
  const local = (at) => at.toLocaleString(undefined, {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
    ...(at.getFullYear() === year ? {} : { year: "numeric" }),
  });
  const localise = () => document.querySelectorAll("time[datetime]:not([data-age], [data-local])").forEach((time) => {
    time.dataset.local = "";
    time.title += ` · ${time.textContent}`;
    time.textContent = local(new Date(time.dateTime));
  });
  localise();
  // Before they are painted: htmx tells of what it swapped in some frames later.
  new MutationObserver(() => {
    localise();
    offer();
  }).observe(document.getElementById("main"), { childList: true, subtree: true });
  htmx.onLoad(() => {
    reveal(document.querySelectorAll("[data-pick-all], [data-reveal]"));
    count();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-reveal]");
    if (!button) return;
    const field = document.querySelector(`[name=${button.dataset.reveal}]`);
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.setAttribute("aria-pressed", String(!shown));
  });

  const toast = document.getElementById("toast");
  if (toast) {
    const close = toast.querySelector("button");
    const later = () => setTimeout(() => { if (!toast.matches(":hover, :focus-within")) toast.remove(); else later(); }, 10000);
    close.addEventListener("click", () => toast.remove());
    reveal([close]);
    announce(toast.querySelector("p").textContent);
    later();
  }

  const page = document.documentElement, button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  const theme = () => page.dataset.theme || themes[0];
  const label = () => { button.textContent = `Theme: ${theme()}`; };
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(theme()) + 1) % themes.length];
    if (next === themes[0]) delete page.dataset.theme; else page.dataset.theme = next;
    const lasts = next === themes[0] ? 0 : 31536000;  // seconds
    document.cookie = `depot-theme=${next}; path=${document.body.dataset.root || "/"}; max-age=${lasts}; samesite=strict`;
    label();
  });
  label();
  reveal([button]);
})();
