from collections import Counter

import pytest

from core.languages import (
    UNKNOWN,
    VARIETIES,
    canonical_code,
    code_of_label,
    codes_without_label,
    language_name,
    languages,
)


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
            assert code_of_label(label) == language.code


def test_aliases_become_the_projects_codes() -> None:
    assert [canonical_code(code) for code in ("he", "tl", "EN", "xx")] == ["iw", "fil", "en", "xx"]
    assert language_name("iw") == "Hebrew"
    assert language_name("xx") == "xx"


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ("ar arb_Arab arb_Latn acm_Arab arz_Arab arz ary_Arab ara", "ar"),
        ("az azj_Latn azj_Cyrl azb_Arab azb aze-Latn", "az"),
        ("zh zho_Hans zho_Hant cmn_Hani cmn_hans zh-cn zh-TW zho-CN", "zh"),
        ("et est_Latn ekk_Latn", "et"),
        ("fa pes_Arab prs_Arab fas_Arab", "fa"),
        ("fil tl tgl_Latn fil_Latn tgl", "fil"),
        ("hmn hmn_Latn mww_Latn hnj_Latn", "hmn"),
        ("iw he heb heb_Hebr", "iw"),
        ("jv jw jav_Latn jav_Java", "jv"),
        ("ku kmr_Latn kmr_Cyrl kur", "ku"),
        ("lv lvs_Latn lav", "lv"),
        ("mg plt_Latn", "mg"),
        ("mn khk_Cyrl mon", "mn"),
        ("ms zsm_Latn zsm_Arab msa", "ms"),
        ("ne npi_Deva npi_Latn nep", "ne"),
        ("no nb nn nob_Latn nno_Latn nb-NO", "no"),
        ("ps pbt_Arab", "ps"),
        ("sq als_Latn sqi", "sq"),
        ("sr srp_Cyrl srp_Latn sr-Latn sr-Latn-RS", "sr"),
        ("sw swh_Latn swc_Latn swa", "sw"),
        ("uz uzn_Latn uzn_Cyrl uzs_Arab uzb", "uz"),
        ("yi ydd_Hebr", "yi"),
        ("ha hau_Latn hau", "ha"),
        ("pt pt-BR pt_PT por", "pt"),
        ("en EN en_US eng", "en"),
    ],
)
def test_every_form_and_variety_of_a_language_is_its_code(labels: str, code: str) -> None:
    assert {code_of_label(label) for label in labels.split()} == {code}


# Written by standards of their own; Alemannic as lid.176 names it; what is no language of ours; what is no label.
OTHERS = """
    yue yue_Hant yue_Hani wuu nan_Hani ckb ckb_Arab sdh_Arab min min_Arab bjn_Latn ltg_Latn vro_Latn pnb pnb_Arab
    hrv_Latn bos_Latn cnr_Latn sh hr bs als gsw_Latn ory_Orya or uig_Arab lim_Latn zxx_Zxxx und_Beng und und:hr - _
"""


@pytest.mark.parametrize("label", OTHERS.split())
def test_other_languages_are_undetermined(label: str) -> None:
    assert code_of_label(label) == UNKNOWN


def test_a_variety_is_no_language_of_its_own_and_belongs_to_one() -> None:
    varieties = Counter(variety for group in VARIETIES.values() for variety in group.split())
    assert set(varieties.values()) == {1}
    assert not set(varieties) & {language.iso3 for language in languages().values()} - {"tgl"}
    assert set(VARIETIES) <= set(languages())


def test_what_labels_lack_is_told_in_the_order_of_the_languages() -> None:
    everything = [language.labels["glotlid_v3"] for language in languages().values()]
    assert codes_without_label(everything) == []
    assert codes_without_label(["eng_Latn", "rus_Cyrl"])[:2] == ["es", "de"]
