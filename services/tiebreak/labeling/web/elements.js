// Making elements: every text goes in as text, never as markup.

export function element(tag, { className = "", text = "", ...rest } = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return Object.assign(made, rest);
}
