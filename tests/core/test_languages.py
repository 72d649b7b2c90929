from collections import Counter

from core.languages import UNKNOWN, canonical_code, code_of_label, language_name, languages


def test_there_are_101_languages_with_names_and_scripts() -> None:
    table = languages()
    assert len(table) == 101
    assert list(table)[:3] == ["en", "ru", "es"]
    assert all(len(language.script) == 4 and language.name for language in table.values())
    assert UNKNOWN not in table


def test_no_label_of_a_detector_stands_for_two_languages() -> None:
    for family in ("lid176", "flores200", "openlid", "glotlid_v3"):
        labels = Counter(language.labels[family] for language in languages().values() if family in language.labels)
        assert [label for label, uses in labels.items() if uses > 1] == []


def test_labels_of_every_family_lead_back_to_their_code() -> None:
    for language in languages().values():
        for label in (language.code, f"{language.iso3}_{language.script}", *language.labels.values()):
            assert code_of_label()[label] == language.code


def test_aliases_become_the_projects_codes() -> None:
    assert [canonical_code(code) for code in ("he", "tl", "EN", "xx")] == ["iw", "fil", "en", "xx"]
    assert language_name("iw") == "Hebrew"
    assert language_name("xx") == "xx"
