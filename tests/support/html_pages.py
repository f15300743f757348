"""HTML pages as a reader sees them."""

import html.parser


class Page(html.parser.HTMLParser):
    """What a browser would find: the tags and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)
