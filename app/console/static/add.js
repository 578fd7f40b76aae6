"use strict";
/* The add page: a model that is chosen goes into the box, arrow keys go through those that were found, and of patterns
   and a choice of files the later one counts. */
(() => {
  const form = document.getElementById("add");
  const box = form.elements.name;

  const mark = () => {
    for (const one of document.querySelectorAll("[data-choose]")) {
      if (one.dataset.choose === box.value) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
  };

  form.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-choose]");
    if (!chosen || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    box.value = chosen.dataset.choose;
    mark();
    box.dispatchEvent(new Event("input", { bubbles: true }));
    if (!event.detail) box.focus();  // it was chosen by the keyboard
  });

  form.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const places = [box, ...form.querySelectorAll("[data-choose]")];
    const next = places.includes(event.target) && places[places.indexOf(event.target) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });

  form.addEventListener("change", (event) => {
    if (event.target.name === "variant") form.elements.include.value = "";
  });

  box.addEventListener("input", mark);

  // For who does not see it: the alert or the size, or how many models there are.
  const announce = () => {
    const plan = document.querySelector("#plan .alert, #plan .big");
    const models = document.querySelectorAll("#matches li").length;
    const found = models ? `${models} models` : document.querySelector("#unmatched .note")?.textContent;
    document.getElementById("announcer").textContent = (plan ? plan.textContent : found) || "";
  };
  document.addEventListener("htmx:afterSettle", ({ detail }) => {
    mark();
    if (detail.target.id === "plan") announce();
  });

  const failed = ({ detail }) => {
    if (detail.elt.id !== "plan") return;
    const told = document.createElement("p");
    told.className = "alert";
    told.textContent = detail.xhr.status
      ? "The depot refused to look. Load the page again."
      : "The depot does not answer. Change the name to try again.";
    detail.elt.replaceChildren(told);
  };
  for (const failure of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) document.addEventListener(failure, failed);
})();
