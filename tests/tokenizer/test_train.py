from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.errors import MGLMError
from core.languages import languages
from core.manifest import read_manifest
from core.schemas import SAMPLE, SAMPLE_TABLE
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.train import train_tokenizer


def test_a_vocabulary_the_sample_cannot_carry_becomes_as_large_as_it_can(tokenizer_directory: Path) -> None:
    manifest = read_manifest(tokenizer_directory, "tokenizer/1")
    assert manifest.facts["requested"] == 20_000
    assert 300 < manifest.facts["pieces"] < 20_000
    assert manifest.facts["pieces"] == Tokenizer.load(tokenizer_directory).pieces


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_too_small_for_the_characters_leaves_the_rarest_to_bytes(
    sample_directory: Path, tmp_path: Path, model_type: str
) -> None:
    config = TokenizerConfig.model_validate({"vocab_size": 400, "model_type": model_type, "num_threads": 1})
    manifest = train_tokenizer(sample_directory, tmp_path / "small", config)
    assert manifest.facts["pieces"] <= 400
    assert manifest.facts["characters"] == (400 - 261) // 2
    assert manifest.facts["character_coverage"] < config.character_coverage
    tokenizer = Tokenizer.load(tmp_path / "small")
    assert tokenizer.decode(tokenizer.encode("春天河水上涨。\n Ωδή")) == "春天河水上涨。\n Ωδή"


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_the_same_sample_and_config_give_the_same_bytes_on_several_threads_and_finished_work_is_not_redone(
    sample_directory: Path, tmp_path: Path, model_type: str
) -> None:
    config = TokenizerConfig.model_validate({"vocab_size": 900, "model_type": model_type, "num_threads": 3})
    first = train_tokenizer(sample_directory, tmp_path / "a", config)
    second = train_tokenizer(sample_directory, tmp_path / "b", config)
    assert first.facts["sha256"] == second.facts["sha256"]
    assert train_tokenizer(sample_directory, tmp_path / "a", config).made == first.made


def test_how_the_sample_is_cut_into_files_and_ordered_chooses_the_same_lines(
    sample_directory: Path, tmp_path: Path
) -> None:
    table = pq.read_table(sample_directory / "part-0.parquet")
    stage = open_stage(tmp_path / "other", schema=SAMPLE, config={}, inputs={})
    for number in range(3):
        part = table.slice(number * 190, 190).sort_by([("doc_id", "descending")])
        pq.write_table(part, tmp_path / "other" / f"part-{number}.parquet")
    stage.finish()
    config = TokenizerConfig(vocab_size=900, num_threads=1, training_bytes=60_000)
    made = [
        train_tokenizer(sample, tmp_path / name, config).facts
        for sample, name in ((sample_directory, "a"), (tmp_path / "other", "b"))
    ]
    keys = ("training_bytes", "sample_bytes", "characters", "character_coverage")
    assert [made[0][key] for key in keys] == [made[1][key] for key in keys]
    assert 50_000 < made[0]["training_bytes"] <= 60_000 < made[0]["sample_bytes"]


def test_a_bound_below_every_line_is_one_clear_line(sample_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match=r"tokenizer\.training_bytes; found 1; expected enough"):
        train_tokenizer(sample_directory, tmp_path / "x", TokenizerConfig(training_bytes=1))


# The letters a child learns, of every script of the 101 languages but Han and Hangul. A few need no list: their blocks
# begin with them.
BASIC_LETTERS = {
    "Latn": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZàâäåæçéèêëíîïñóôöøœùûüýÿß"
    "þðąćęłńśźżăășşțţčďěňřšťůžőűģķļņāēīūğıİđơưẹọṣ",
    "Cyrl": "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґўђјљњћџәғқңөұүһӣӯҳҷ",
    "Grek": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώ",
    "Arab": "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئىةپچژگکیےںٹڈڑھہۀېڅځښ",
    "Hebr": "אבגדהוזחטיכךלמםנןסעפףצץקרשת",
    "Deva": "अआइईउऊऋएऐओऔकखगघङचछजझञटठडढणतथदधनपफबभमयरलवशषसहािीुूृेैोौ्ंः०१२३४५६७८९",
    "Beng": "অআইঈউঊঋএঐওঔকখগঘঙচছজঝঞটঠডঢণতথদধনপফবভমযরলশষসহািীুূৃেৈোৌ্ংঃ",
    "Guru": "ਅਆਇਈਉਊਏਐਓਔਕਖਗਘਙਚਛਜਝਞਟਠਡਢਣਤਥਦਧਨਪਫਬਭਮਯਰਲਵਸਹਾਿੀੁੂੇੈੋੌੰੱ",
    "Gujr": "અઆઇઈઉઊઋએઐઓઔકખગઘઙચછજઝઞટઠડઢણતથદધનપફબભમયરલળવશષસહાિીુૂૃેૈોૌ્ં",
    "Taml": "அஆஇஈஉஊஎஏஐஒஓஔகஙசஞடணதநபமயரலவழளறனாிீுூெேைொோௌ்",
    "Telu": "అఆఇఈఉఊఋఎఏఐఒఓఔకఖగఘఙచఛజఝఞటఠడఢణతథదధనపఫబభమయరలళవశషసహాిీుూృెేైొోౌ్ం",
    "Knda": "ಅಆಇಈಉಊಋಎಏಐಒಓಔಕಖಗಘಙಚಛಜಝಞಟಠಡಢಣತಥದಧನಪಫಬಭಮಯರಲಳವಶಷಸಹಾಿೀುೂೃೆೇೈೊೋೌ್ಂ",
    "Mlym": "അആഇഈഉഊഋഎഏഐഒഓഔകഖഗഘങചഛജഝഞടഠഡഢണതഥദധനപഫബഭമയരലളഴവശഷസഹാിീുൂൃെേൈൊോൌ്ംൺൻർൽൾ",
    "Sinh": "අආඇඈඉඊඋඌඑඒඓඔඕඖකඛගඝඞචඡජඣඤටඨඩඪණතථදධනපඵබභමයරලවශෂසහළෆාැෑිීුූෘෙේෛොෝෞ්ං",
    "Thai": "กขคฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮะัาำิีึืุูเแโใไ็่้๊๋์",
    "Laoo": "ກຂຄງຈສຊຍດຕຖທນບປຜຝພຟມຢຣລວຫອຮະັາຳິີຶືຸູເແໂໃໄ່້໊໋",
    "Khmr": "កខគឃងចឆជឈញដឋឌឍណតថទធនបផពភមយរលវសហឡអាិីឹឺុូួើឿៀេែៃោៅំះ្",
    "Mymr": "ကခဂဃငစဆဇဈညဋဌဍဎဏတထဒဓနပဖဗဘမယရလဝသဟဠအါာိီုူေဲံ့း္်ျြွှ",
    "Ethi": "".join(chr(code) for code in range(0x1200, 0x1358) if chr(code).isalpha()),
    "Geor": "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ",
    "Armn": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆև",
    "Jpan": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん"
    "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン",
}


@pytest.fixture(scope="session")
def rare_letters_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Of a sample in which each letter occurs once among English, which makes up nearly all of it."""
    folder = tmp_path_factory.mktemp("letters")
    stage = open_stage(folder / "sample", schema=SAMPLE, config={}, inputs={})
    texts = ["The river rises in spring and the bridge holds. " * 2_000, *BASIC_LETTERS.values()]
    rows = [{"doc_id": document_id(text), "lang": "en", "copy": 0, "text": text} for text in texts]
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_TABLE), folder / "sample" / "part.parquet")
    stage.finish()
    train_tokenizer(folder / "sample", folder / "made", TokenizerConfig(vocab_size=8_000, num_threads=1))
    return Tokenizer.load(folder / "made")


@pytest.mark.parametrize("script", BASIC_LETTERS)
def test_no_letter_of_a_script_is_spelled_in_bytes(rare_letters_tokenizer: Tokenizer, script: str) -> None:
    tokenizer = rare_letters_tokenizer
    spelled = {
        letter
        for letter in BASIC_LETTERS[script]
        if any(tokenizer.piece_byte(index) >= 0 for index in tokenizer.encode(letter))
    }
    assert spelled == set()


def test_the_letters_are_of_all_scripts_of_the_languages() -> None:
    assert {language.script for language in languages().values()} - {"Hans", "Hang"} == BASIC_LETTERS.keys()


def test_an_unfinished_sample_an_empty_one_and_a_broken_file_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="mglm balancing sample first"):
        train_tokenizer(tmp_path / "absent", tmp_path / "out", TokenizerConfig())
    empty = open_stage(tmp_path / "empty", schema=SAMPLE, config={}, inputs={})
    pq.write_table(SAMPLE_TABLE.empty_table(), tmp_path / "empty" / "part.parquet")
    empty.finish()
    with pytest.raises(MGLMError, match="found no text"):
        train_tokenizer(tmp_path / "empty", tmp_path / "out", TokenizerConfig())
    broken = open_stage(tmp_path / "broken", schema=SAMPLE, config={}, inputs={})
    (tmp_path / "broken" / "part.parquet").write_bytes(b"not parquet")
    broken.finish()
    with pytest.raises(MGLMError, match=r"part\.parquet.*expected a Parquet file"):
        train_tokenizer(tmp_path / "broken", tmp_path / "out2", TokenizerConfig())
    damaged = open_stage(tmp_path / "damaged", schema=SAMPLE, config={}, inputs={})
    columns = {"doc_id": [f"{number:032x}" for number in range(999)], "lang": ["en"] * 999, "text": ["some text"] * 999}
    path = tmp_path / "damaged" / "part.parquet"
    pq.write_table(pa.table({**columns, "copy": [0] * 999}).select(SAMPLE_TABLE.names).cast(SAMPLE_TABLE), path)
    damaged.finish()
    content = bytearray(path.read_bytes())
    content[100:1_000] = bytes(900)  # the footer is whole
    path.write_bytes(content)
    with pytest.raises(MGLMError, match=r"part\.parquet.*expected a whole Parquet file"):
        train_tokenizer(tmp_path / "damaged", tmp_path / "out4", TokenizerConfig())
    other = open_stage(tmp_path / "other", schema=SAMPLE, config={}, inputs={})
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "other" / "part.parquet")
    other.finish()
    with pytest.raises(MGLMError, match="a column doc_id"):
        train_tokenizer(tmp_path / "other", tmp_path / "out3", TokenizerConfig())
