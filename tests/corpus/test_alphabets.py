"""The two alphabets of Serbian, Azerbaijani and Uzbek, by translations of the declaration of human rights in both."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.alphabets import in_other_alphabet
from corpus.labelled import LabelledDocument
from corpus.lid_config import LidConfig
from corpus.lid_training import training_lines

# Language, and the preamble's fifth paragraph or the first article in Latin and in Cyrillic: udhr in Unicode, which is
# in the public domain; both were written by people.
DECLARATION = [
    (
        "sr",
        "pošto su narodi Ujedinjenih nacija u Povelji ponovo proglasili svoju veru u osnovna prava čoveka, u "
        "dostojanstvo i vrednost čovekove ličnosti i ravnopravnost muškaraca i žena i pošto su odlučili da "
        "podstiču društveni napredak i poboljšaju životni standard u većoj slobodi;",
        "пошто су народи Уједињених нација у Повељи поново прогласили своју веру у основна права човека, у "
        "достојанство и вредност човекове личности и равноправност мушкараца и жена и пошто су одлучили да "
        "подстичу друштвени напредак и побољшају животни стандард у већој слободи;",
    ),
    (
        "sr",
        "Sva ljudska bića rađaju se slobodna i jednaka u dostojanstvu i pravima. Ona su obdarena razumom i "
        "svešću i treba jedni prema drugima da postupaju u duhu bratstva.",
        "Сва људска бића рађају се слободна и једнака у достојанству и правима. Она су обдарена разумом и "
        "свешћу и треба једни према другима да поступају у духу братства.",
    ),
    (
        "az",
        "Birləşmiş Millətlərin xalqlarının BMT Nizamnaməsində əsas insan hüquqlarına, insan şəxsiyyətinin "
        "ləyaqət və dəyərinə, kişi və qadınların hüquq bərabərliyinə inamlarını təsdiq etdiklərini və daha "
        "geniş azadlıq şəraitində sosial tərəqqi və həyat şəraitinin yaxşılaşdırılmasına yardım etməyi qət "
        "etdiklərini nəzərə alaraq,",
        "Бирләшмиш Милләтләрин халгларынын БМТ Низамнамәсиндә әсас инсан һүгугларына, инсан шәхсијјәтинин "
        "ләјагәт вә дәјәринә, киши вә гадынларын һүгуг бәрабәрлијинә инамларыны тәсдиг етдикләрини вә даһа "
        "ҝениш азадлыг шәраитиндә сосиал тәрәгги вә һәјат шәраитинин јахшылашдырылмасына јардым етмәји гәт "
        "етдикләрини нәзәрә алараг,",
    ),
    (
        "az",
        "Bütün insanlar ləyaqət və hüquqlarına görə azad və bərabər doğulurlar. Onların şüurları və "
        "vicdanları var və bir-birlərinə münasibətdə qardaşlıq ruhunda davranmalıdırlar.",
        "Бүтүн инсанлар ләјагәт вә һүгугларына ҝөрә азад вә бәрабәр доғулурлар. Онларын шүурлары вә "
        "виҹданлары вар вә бир-бирләринә мүнасибәтдә гардашлыг руһунда давранмалыдырлар.",
    ),
    (
        "uz",
        "Birlashgan Millatlarning xalqlari Ustavda insonning asosiy huquqlarni, qadr‐qimmati va inson "
        "shaxsning benazirligiga hamda erkaklar va ayollarning teng huquqligiga oʻz ishonchlarini "
        "tasdiqlaganliklarni hamda katta huquq bilan ijtimoiy taraqqiyot va turmush sharoitini yaxshilashga "
        "yordam berishga qaror qilganliklarni eʼtiborga olib,",
        "Бирлашган Миллатларнинг халқлари Уставда инсоннинг асосий ҳуқуқларни, қадр‐қиммати ва инсон шахснинг"
        " беназирлигига ҳамда эркаклар ва аёлларнинг тенг ҳуқуқлигига ўз ишончларини тасдиқлаганликларни "
        "ҳамда катта ҳуқуқ билан ижтимоий тараққиёт ва турмуш шароитини яхшилашга ёрдам беришга қарор "
        "қилганликларни эътиборга олиб,",
    ),
    (
        "uz",
        "Barcha odamlar erkin, qadr‐qimmat va huquqlarda teng boʻlib tugʻiladilar. Ular aql va vijdon "
        "sohibidirlar va bir‐birlariga birodarlarcha muomala qilishlari zarur.",
        "Барча одамлар эркин, қадр‐қиммат ва ҳуқуқларда тенг бўлиб туғиладилар. Улар ақл ва виждон "
        "соҳибидирлар ва бир‐бирларига биродарларча муомала қилишлари зарур.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("lang", "latin", "cyrillic"), DECLARATION)
def test_a_text_becomes_what_people_write_in_the_other_alphabet(lang: str, latin: str, cyrillic: str) -> None:
    assert in_other_alphabet(latin, lang) == cyrillic
    assert in_other_alphabet(cyrillic, lang) == latin


@given(st.lists(st.text("абвгдђежзијклљмнњопрстћуфхцчџшАЉЏ", min_size=1, max_size=12), min_size=1, max_size=5))
def test_serbian_loses_no_letter_on_the_way(words: list[str]) -> None:
    # н and ј side by side (инјекција) come back as њ, for Latin writes both alike; so do л and ј, д and ж.
    text = re.sub("(?<=[нл])ј|(?<=д)ж", "а", " ".join(words).lower())
    assert in_other_alphabet(in_other_alphabet(text, "sr") or text, "sr") == text


def test_capitals_stay_where_words_begin_and_where_all_are_capitals() -> None:
    assert in_other_alphabet("Љубав, ЉУБАВ и Њ.", "sr") == "Ljubav, LJUBAV i Nj."
    assert in_other_alphabet("Işıq İşə IŞIQ", "az") == "Ышыг Ишә ЫШЫГ"
    assert in_other_alphabet("Ышыг Ишә ИШЫГ", "az") == "Işıq İşə İŞIQ"


def test_uzbek_is_read_with_the_marks_that_people_type() -> None:
    for typed in ("o'zbek tog' yo'l ma'no", "o‘zbek tog‘ yo‘l ma’no", "oʻzbek togʻ yoʻl maʼno"):
        assert in_other_alphabet(typed, "uz") == "ўзбек тоғ йўл маъно"
    assert in_other_alphabet("эл ер эътибор", "uz") == "el yer eʼtibor"


def test_words_of_other_alphabets_and_other_languages_stay() -> None:
    assert in_other_alphabet("Twitter je mreža 2024, WWF-a", "sr") == "Twitter је мрежа 2024, WWF-а"
    assert in_other_alphabet("zdravo svete", "hr") is None
    assert in_other_alphabet("2024!", "sr") is None
    assert in_other_alphabet("", "uz") is None


def test_a_detector_is_trained_on_both_alphabets_and_others_lose_no_line() -> None:
    documents = [
        LabelledDocument(f"{place:032x}", text, lang)
        for place, (lang, text) in enumerate([("sr", DECLARATION[0][2]), ("sl", "Vsi ljudje se rodijo svobodni. " * 9)])
    ]
    one, both = (training_lines(documents, LidConfig(both_alphabets=both)) for both in (False, True))
    assert set(one) < set(both)
    added = set(both) - set(one)
    assert all(line.startswith("__label__sr ") and line.isascii() is False for line in added)
    assert not any("\u0400" <= character <= "\u04ff" for line in added for character in line)
    assert len([line for line in both if "__label__sr" in line]) == 2 * len(
        [line for line in one if "__label__sr" in line]
    )
