# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible's markup of documentation as Markdown that is read as well with bare eyes."""

from __future__ import annotations

from antsibull_docs_parser import dom, format, parser

# Where other pages of the reference tell of a plugin, a role or a playbook.
PAGES = {"module": "modules.md", "filter": "plugins.md", "callback": "plugins.md", "role": "roles.md"}
OURS = "llmops.nim."


def anchor(heading):
    """The fragment (str) of a heading (str) without marks, as GitHub and GitLab make it."""
    return heading.lower().replace(".", "").replace(" ", "-")


class Markdown(format.Formatter):
    """Names and values in backquotes, our own plugins as links."""

    def _plugin(self, fqcn, kind):
        name = fqcn[len(OURS) :] if fqcn.startswith(OURS) else fqcn
        page = PAGES.get(kind, "playbooks.md") if name != fqcn else None
        return f"[`{name}`]({page}#{anchor(name)})" if page else f"`{name}`"

    def _code(self, text):
        return f"`{text}`"

    def format_error(self, part: dom.ErrorPart):
        raise ValueError(part.message)

    def format_bold(self, part):
        return f"**{part.text}**"

    def format_italic(self, part):
        return f"*{part.text}*"

    def format_code(self, part):
        return self._code(part.text)

    def format_horizontal_line(self, _part):
        return "\n\n---\n\n"

    def format_link(self, part):
        return f"[{part.text}]({part.url})"

    def format_url(self, part):
        return f"<{part.url}>"

    def format_rst_ref(self, part):
        return part.text

    def format_text(self, part):
        return part.text.replace("<", "&lt;")

    def format_env_variable(self, part):
        return self._code(part.name)

    def format_module(self, part, url):
        return self._plugin(part.fqcn, "module")

    def format_plugin(self, part, url):
        return self._plugin(part.plugin.fqcn, part.plugin.type)

    def format_option_name(self, part, url):
        return self._code(part.name if part.value is None else f"{part.name}={part.value}")

    format_return_value = format_option_name

    def format_option_value(self, part):
        return self._code(part.value)


def markdown(text, plugin=None, kind="module"):
    """A paragraph or several (str or list of str) of the documentation of a plugin as Markdown: list of str."""
    paragraphs = [text] if isinstance(text, str) else list(text or [])
    current = dom.PluginIdentifier(plugin, kind) if plugin else None
    context = parser.Context(current_plugin=current, role_entrypoint="main" if kind == "role" else None)
    parsed = parser.parse(paragraphs, context, errors="exception")
    return [" ".join(format.format_paragraphs([one], Markdown()).split()) for one in parsed]
