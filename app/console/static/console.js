// What the pages need beside htmx: changes as they happen, and buttons that copy.
"use strict";

// Makes `old` like `fresh`, touching only what differs: focus, selection and open details stay where they are.
function renew(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.childNodes.length !== fresh.childNodes.length) {
    old.replaceWith(fresh);
  } else if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
  } else {
    for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const name of fresh.getAttributeNames()) old.setAttribute(name, fresh.getAttribute(name));
    const children = [...fresh.childNodes];
    [...old.childNodes].forEach((child, place) => renew(child, children[place]));
  }
}

// Whoever is watched may have moved on so far that all of the page is another one.
async function renewPage() {
  const answer = await fetch(location.href);
  if (answer.redirected) {
    location.reload();
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = page.title;
  document.querySelector("main").replaceWith(page.querySelector("main"));
  htmx.process(document.querySelector("main"));
}

function changed(event) {
  const piece = document.createElement("template");
  piece.innerHTML = event.data;
  const fresh = piece.content.firstElementChild;
  const old = document.getElementById(fresh.id);
  if (!old) return;
  if (old.dataset.stage !== undefined && old.dataset.stage !== fresh.dataset.stage) renewPage();
  else if (fresh.dataset.status === "gone") old.remove();
  else renew(old, fresh);
}

// One stream for a page, and none for a page that nobody looks at: browsers have only a few for each server.
let stream = null;

function watch() {
  const wanted = document.hidden ? "" : document.querySelector("[data-live]")?.dataset.live || "";
  if ((stream?.wanted || "") === wanted) return;
  stream?.close();
  stream = null;
  if (!wanted) return;
  stream = new EventSource(wanted);
  stream.wanted = wanted;
  stream.addEventListener("model", changed);
  stream.addEventListener("signed-out", () => location.reload());
}

document.addEventListener("visibilitychange", watch);
document.addEventListener("htmx:afterSettle", watch);
window.addEventListener("pageshow", watch);
window.addEventListener("pagehide", () => {
  stream?.close();
  stream = null;
});
watch();

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // Without TLS a browser gives no clipboard to pages: the text is selected, for the keyboard.
    getSelection().selectAllChildren(source);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
});
