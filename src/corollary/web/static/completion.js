// Names while they are typed: an ARIA combobox over /search.json. Without it the form searches.
const MARKED = /[\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff\u0000-\u001f\u007f-\u009f]/g;
const visible = (text) =>
  text.replace(MARKED, (one) => `\u2039U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u203a`);
const short = (text) => (text.length > 120 ? `${text.slice(0, 119)}\u2026` : text);
const PAUSE = 60; // milliseconds of rest before a question is sent

let number = 0;
for (const input of document.querySelectorAll("[data-complete]")) {
  const list = document.createElement("ul");
  const count = document.createElement("span");
  list.id = `options-${(number += 1)}`;
  list.className = "options";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Entities");
  count.className = "aside";
  count.setAttribute("role", "status");
  const place = document.createElement("span");
  place.className = "find";
  input.replaceWith(place);
  place.append(input, list, count);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");

  let found = [];
  let active = -1;
  let waiting = null;
  let asking = null;

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (one) => {
    close();
    if (input.dataset.complete === "go") location.assign(one.url);
    else input.value = one.label;
  };
  const mark = (next) => {
    active = next;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", list.children[active].id);
  };
  const show = (results) => {
    found = results;
    list.replaceChildren(
      ...results.map((one, at) => {
        const option = document.createElement("li");
        const name = document.createElement("bdi");
        option.id = `${list.id}-${at}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        name.textContent = short(visible(one.name));
        option.append(name);
        if (one.type) {
          const type = document.createElement("span");
          type.className = "note";
          type.textContent = ` ${short(visible(one.type))}`;
          option.append(type);
        }
        option.addEventListener("mousedown", (event) => {
          event.preventDefault();
          choose(one);
        });
        return option;
      }),
    );
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.hidden = results.length === 0;
    input.setAttribute("aria-expanded", String(results.length > 0));
    count.textContent = results.length === 1 ? "1 name" : `${results.length} names`;
  };
  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    const q = input.value.trim();
    if (!q) {
      close();
      return;
    }
    try {
      const answer = await fetch(`/search.json?${new URLSearchParams({ q: q.slice(0, 200), limit: "10" })}`, {
        signal: asking.signal,
      });
      if (answer.ok) show((await answer.json()).results);
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(ask, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown") mark((active + 1) % found.length);
    else if (event.key === "ArrowUp") mark((active <= 0 ? found.length : active) - 1);
    else if (event.key === "Enter" && active >= 0) choose(found[active]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  input.addEventListener("blur", close);
}
