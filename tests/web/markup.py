"""Reading pages as a browser would: tags in order, attributes, text."""

from html.parser import HTMLParser

VOID = {"meta", "br", "col", "hr", "link", "img", "input"}


class Page(HTMLParser):
    """Tags with attributes and the text; every element must be closed in order and every id be there once."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), "an id stands twice"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, blanks as one."""
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        return [str(one["href"]) for one in self.all("a") if one.get("href")]

    def runs_nothing(self) -> None:
        """No handler, no inline style, no address that is a script, no element that a name brought along."""
        for tag, attributes in self.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
            for name in ("href", "src", "action"):
                value = attributes.get(name) or ""
                assert not value.lower().lstrip().startswith(("javascript:", "data:", "vbscript:")), value
            assert tag not in ("iframe", "object", "embed", "b", "i", "u", "base"), tag

    def is_reachable(self) -> None:
        """What a reader of the screen needs: a language, one first heading, labels, headers of tables."""
        assert self.all("html")[0]["lang"] == "en"
        assert len(self.all("h1")) == 1
        assert len(self.all("main")) == 1
        labelled = {one.get("for") for one in self.all("label")}
        for one in self.all("input"):
            inside = one.get("type") in ("hidden", "checkbox") or one.get("name") in (
                "head",
                "relation",
                "tail",
            )
            assert inside or one.get("id") in labelled
        assert all("scope" in one for one in self.all("th"))
        assert len(self.all("caption")) == len(self.all("table"))
        for one in self.all("svg"):
            assert one.get("aria-label")
        for one in self.all("img"):
            assert one["alt"]
            assert str(one["src"]).startswith("/")
        assert all(one.get("aria-label") for one in self.tags_with("role", "region"))

    def tags_with(self, name: str, value: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if attributes.get(name) == value]
