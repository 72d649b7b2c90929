"""What ends a sentence, in every script, as classes of the `regex` module (VERSION1).

Unicode's property Sentence_Terminal (. ! ? 。 ！ ？ । ॥ ؟ ۔ ። ፧ ។ ៕ ။ ։) with what it lacks (ellipsis, Greek's question
mark, Tibetan's shad, Sinhala's kunddaliya), without ၊, Burmese's little section, which is a comma.
"""

SENTENCE_MARKS = r"[[\p{STerm}…\u037E།༎෴]--[၊]]"
CLOSERS = r"[\p{Pe}\p{Pf}\"'”’」』»]"  # quotes and brackets that go with the sentence before them
# Scripts that put no space between words, as `core.scripts.script_of` names them.
UNSPACED_SCRIPTS = frozenset({"Hani", "Hans", "Hant", "Jpan", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr"})
