"""What a text takes of a row, judged by its words: next to nothing of it is tokenised.

The pieces that a tokenizer makes of a word follow from its vocabulary: byte pairs are merged in the order in which the
vocabulary holds them, and other models take about the longest pieces from the left. By how much the sum over words is
off, where signs share a token with words, is learnt from texts that are counted. Judged so, a passage of 130 tokens is
off by one or two, and a row of many by some thousandths.
"""

import re
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from operator import add

from haymaker.tokens import Aligner

# Words with a blank or sign before them, figures, signs with the ends of lines, blanks: about as tokenizers cut them.
FORM = r"[^\w\n]?[^\W\d]+| ?\d+| ?[^\s\w]+\n*{}|\s+(?!\S)|\s+"
WORDS = re.compile(FORM.format(""))
WITH_BLANK_LINES = re.compile(FORM.format(r"|\s*\n+"))  # where all ends of lines before a word are one (Llama 3, Qwen)
BLANK_LINE = "a\n\na"
MOST_WORDS = 200_000  # whose pieces are kept


class Judge:
    """Judges texts for one tokenizer. What it says of a text depends on the text and on what was learnt alone."""

    def __init__(self, aligner: Aligner) -> None:
        self.aligner, self.rate = aligner, 1.0  # tokens for each piece
        self.known: dict[str, int] = {}  # pieces of words
        self.blank = aligner.blank()
        self.words = WITH_BLANK_LINES if aligner.counts([BLANK_LINE])[0] < len(BLANK_LINE) else WORDS

    def learn(self, texts: Sequence[str], tokens: int) -> None:
        """Hear what these texts take together."""
        self.rate = tokens / max(1, sum(map(self.pieces, texts)))

    def sizes(self, texts: Sequence[str]) -> list[float]:
        """Tokens of each text, about."""
        return [self.rate * self.pieces(text) for text in texts]

    def pieces(self, text: str) -> int:
        """Pieces that the words of a text come to."""
        words = self.words.findall(text)
        try:
            return sum(map(self.known.__getitem__, words))
        except KeyError:
            if len(self.known) > MOST_WORDS:
                self.known = {}
            self.meet(list(dict.fromkeys(word for word in words if word not in self.known)))
            return sum(map(self.known.__getitem__, words))

    def meet(self, words: Sequence[str]) -> None:
        """Have the pieces of new words: from the vocabulary, or counted where it spells their letters otherwise."""
        told = {word: self.spelled(word.replace(" ", self.blank)) if word.isascii() else 0 for word in words}
        counted = [word for word, pieces in told.items() if not pieces]
        self.known |= told | dict(zip(counted, self.aligner.counts(counted), strict=True))

    def spelled(self, word: str) -> int:
        """Pieces of the vocabulary that a word is made of; 0 where they do not spell it."""
        if self.aligner.piece_id(word) is not None:
            return 1
        # Figures are cut before they are merged, in ones or threes from the left.
        return self.merged(word) if self.aligner.merges and not word[-1].isdigit() else self.longest(word)

    def merged(self, word: str) -> int:
        """Pieces that are left when pairs are merged, the one that the vocabulary holds first before the others."""
        known, parts = self.aligner.piece_id, list(word)
        if any(known(part) is None for part in parts):
            return 0
        left, before, after = len(parts), list(range(-1, len(parts))), list(range(1, len(parts) + 2))
        both = map(add, parts, parts[1:])
        waiting = [(pair, at, text) for at, text in enumerate(both) if (pair := known(text)) is not None]
        heapify(waiting)
        while waiting:
            _, at, text = heappop(waiting)
            right = after[at]
            if right >= len(parts) or not parts[at] or parts[at] + parts[right] != text:
                continue  # one of the two was merged with another since
            parts[at], parts[right], left = text, "", left - 1
            after[at], before[after[right]] = after[right], at
            for first, second in ((before[at], at), (at, after[at])):
                if first >= 0 and second < len(parts):
                    text = parts[first] + parts[second]
                    if (pair := known(text)) is not None:
                        heappush(waiting, (pair, first, text))
        return left

    def longest(self, word: str) -> int:
        """Pieces of a word where each is the longest that begins there."""
        known, within, most = self.aligner.piece_id, self.aligner.within_words, self.aligner.longest_piece
        at = pieces = 0
        while at < len(word):
            before, last = within if at else "", min(len(word), at + most)
            stop = next((end for end in range(last, at, -1) if known(before + word[at:end]) is not None), None)
            if stop is None:
                return 0
            at, pieces = stop, pieces + 1
        return pieces
