// The little of Markdown that guidelines need: headings, lists, paragraphs, **bold**, *italic*, `code`. Built as elements: no markup of
// theirs is ever parsed, and a link stays the text it is.

import { element } from "./elements.js";

const INLINE = /\*\*([^*]+)\*\*|\*([^*]+)\*|`([^`]+)`/g;

function inline(parent, text) {
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parent.append(text.slice(end, match.index));
    const [whole, bold, italic, code] = match;
    parent.appendChild(element(bold ? "strong" : italic ? "em" : "code", { text: bold ?? italic ?? code }));
    end = match.index + whole.length;
  }
  parent.append(text.slice(end));
  return parent;
}

/** The elements of `source`. */
export function markdown(source) {
  const made = [];
  let list = null;
  let paragraph = null;
  for (const line of source.split(/\r?\n/)) {
    const heading = /^(#{1,4})\s+(.*)$/.exec(line);
    const item = /^\s*(?:([-*+])|\d+[.)])\s+(.*)$/.exec(line);
    if (item) {
      const tag = item[1] ? "ul" : "ol";
      if (list?.localName !== tag) made.push((list = element(tag)));
      list.appendChild(inline(element("li"), item[2]));
      paragraph = null;
    } else if (heading || !line.trim()) {
      list = paragraph = null;
      if (heading) made.push(inline(element("h3"), heading[2]));
    } else {
      if (!paragraph) made.push((paragraph = element("p")));
      else paragraph.append(" ");
      inline(paragraph, line.trim());
      list = null;
    }
  }
  return made;
}
