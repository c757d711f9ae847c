"""A web page as text: what a reader sees, with numbers on what can be clicked or filled in."""

from __future__ import annotations

NUMBER = "data-actloop-number"
"""Attribute that holds an element's number in the page."""

_SCRIPT = r"""
(attribute) => {
  const SKIP = new Set(['SCRIPT', 'STYLE', 'NOSCRIPT', 'TEMPLATE', 'SVG', 'svg', 'CANVAS', 'OPTION']);
  const ROLES = ['button', 'link', 'checkbox', 'radio', 'tab', 'menuitem', 'option', 'combobox', 'textbox', 'searchbox',
                 'switch', 'slider', 'spinbutton'];
  const FIELDS = ['INPUT', 'SELECT', 'TEXTAREA'];
  const lines = [''];
  let number = 0;
  const say = text => { lines[lines.length - 1] += text; };
  const line = () => { if (lines[lines.length - 1].trim()) lines.push(''); else lines[lines.length - 1] = ''; };
  const clean = text => (text || '').replace(/\s+/g, ' ').trim();
  const short = (text, most = 120) => {
    text = clean(text);
    return text.length > most ? text.slice(0, most) + '...' : text;
  };
  const label = e => short(e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.placeholder || e.title
                           || e.getAttribute('name') || e.innerText || e.querySelector?.('img')?.alt || e.value);
  const role = e => {
    const given = e.getAttribute('role');
    if (given && ROLES.includes(given)) return given;
    if (e.tagName === 'A' && e.hasAttribute('href')) return 'link';
    if (e.tagName === 'BUTTON' || e.tagName === 'SUMMARY') return 'button';
    if (e.tagName === 'SELECT') return 'choice';
    if (e.tagName === 'TEXTAREA' || e.isContentEditable && e.getAttribute('contenteditable') !== null) return 'field';
    if (e.tagName === 'INPUT') {
      if (e.type === 'hidden') return null;
      if (['button', 'submit', 'reset', 'image'].includes(e.type)) return 'button';
      return ['checkbox', 'radio'].includes(e.type) ? e.type : 'field';
    }
    return e.hasAttribute('onclick') ? 'button' : null;
  };
  const state = e => {
    let told = '';
    if (e.tagName === 'SELECT') {
      told += ` = "${short(e.selectedOptions[0]?.text)}" of "`
            + [...e.options].slice(0, 12).map(o => short(o.text, 40)).join('", "') + '"';
    } else if (FIELDS.includes(e.tagName) && !['checkbox', 'radio', 'submit', 'button', 'password'].includes(e.type)) {
      if (e.value) told += ` = "${short(e.value)}"`;
    }
    if (e.checked) told += ' checked';
    if (e.disabled) told += ' disabled';
    return told;
  };
  const isBlock = e => !['inline', 'inline-block', 'contents', 'inline-flex'].includes(getComputedStyle(e).display);
  const walk = node => {
    if (node.nodeType === 3) { const text = node.data.replace(/\s+/g, ' '); if (text.trim()) say(text); return; }
    if (node.nodeType !== 1 || SKIP.has(node.tagName)) return;
    if (!node.checkVisibility({visibilityProperty: true, opacityProperty: true})) {
      if (getComputedStyle(node).display === 'none') return;
      if (!FIELDS.includes(node.tagName)) { for (const child of node.children) walk(child); return; }
    }
    const kind = role(node);
    if (kind !== null) {
      node.setAttribute(attribute, ++number);
      say(` [${number}: ${kind} "${label(node)}"${state(node)}] `);
      return;
    }
    const block = isBlock(node);
    if (block) line();
    if (/^H[1-6]$/.test(node.tagName)) say('#'.repeat(+node.tagName[1]) + ' ');
    if (node.tagName === 'LI') say('- ');
    if (node.tagName === 'TD' || node.tagName === 'TH') { if (lines[lines.length - 1].trim()) say(' | '); }
    if (node.tagName === 'IMG' && node.alt) say(` (image: ${short(node.alt)}) `);
    if (node.tagName === 'BR') line();
    if (node.tagName === 'IFRAME') { say(' (a frame: its content is not shown) '); return; }
    const cells = node.tagName === 'TR';
    for (const child of (node.shadowRoot || node).childNodes) {
      if (cells && child.nodeType === 1) {
        if (lines[lines.length - 1].trim()) say(' | ');
        const before = lines.length;
        for (const inner of child.childNodes) walk(inner);
        if (lines.length > before) lines.splice(before - 1, lines.length, lines.slice(before - 1).join(' '));
      } else walk(child);
    }
    if (block) line();
  };
  for (const old of document.querySelectorAll(`[${attribute}]`)) old.removeAttribute(attribute);
  if (document.body) walk(document.body);
  return lines.map(text => text.replace(/ {2,}/g, ' ').trim()).filter(Boolean).join('\n');
}
"""
SCRIPT = _SCRIPT.strip()
"""Run in the page with the attribute's name, it numbers the elements and returns the text."""

FIND = r"""
([text, nth]) => {
  const wanted = text.toLowerCase();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!parent || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(parent.tagName)) continue;
    if (walker.currentNode.data.toLowerCase().includes(wanted) && parent.checkVisibility()) found.push(parent);
  }
  const element = found[nth - 1];
  if (!element) return [found.length, ''];
  element.scrollIntoView({block: 'center'});
  const around = (element.closest('p, li, td, tr, h1, h2, h3, h4, section, div') || element).innerText || '';
  const at = Math.max(0, around.toLowerCase().indexOf(wanted));
  return [found.length, around.slice(Math.max(0, at - 300), at + text.length + 300)];
}
"""
"""Run in the page with a text and a number, it scrolls to that match; returns how many there are and what is around."""
