"""The words dates are written with: months in a dozen languages, and the letters of time zones."""

import unicodedata

#: Names, genitives and abbreviations of each month as dates carry them: English, German, French,
#: Spanish, Italian, Portuguese, Dutch, Scandinavian, Polish, Russian, Ukrainian, Turkish.
#: No form stands for two months; languages that would clash (Croatian and Czech listopad) are left out.
_MONTHS = (
    "january jan januar januari jänner janvier janv enero ene gennaio gen janeiro styczeń stycznia sty"
    " январь января янв січень січня січ ocak oca",
    "february feb februar februari febr feber février févr fév febrero febbraio fevereiro fev luty lutego lut"
    " февраль февраля фев февр лютий лютого лют şubat şub",
    "march mar märz mär mrz mars marzo março maart mrt marts marzec marca"
    " март марта мар березень березня бер mart",
    "april apr avril avr abril abr aprile kwiecień kwietnia kwi апрель апреля апр квітень квітня кві"
    " nisan nis",
    "may mai mayo maggio mag maio mei maj maja май мая травень травня тра трав mayıs",
    "june jun juni juin junio giugno giu junho czerwiec czerwca cze июнь июня июн червень червня чер черв"
    " haziran haz",
    "july jul juli juillet juil julio luglio lug julho lipiec lipca lip июль июля июл липень липня лип"
    " temmuz tem",
    "august aug août agosto ago augustus augusti sierpień sierpnia sie август августа авг"
    " серпень серпня сер серп ağustos ağu",
    "september sept sep septembre septiembre setiembre settembre set sett setembro wrzesień września wrz"
    " сентябрь сентября сен сент вересень вересня вер eylül eyl",
    "october oct oktober okt octobre octubre ottobre ott outubro out október październik października paź"
    " октябрь октября окт жовтень жовтня жов жовт ekim eki",
    "november nov novembre noviembre novembro listopad listopada lis ноябрь ноября ноя нояб"
    " листопад листопада лис kasım kas",
    "december dec dezember dez décembre déc diciembre dic dicembre dezembro desember des grudzień grudnia gru"
    " декабрь декабря дек грудень грудня гру груд aralık ara",
)

#: Minutes east of UTC. RFC 822 section 5.1 and the letters feeds really carry; letters that mean several
#: zones without one being usual (IST, AMT) are left out: such a date is read in the publication's zone.
ZONES = {
    **dict.fromkeys(("z", "ut", "utc", "gmt", "wet"), 0),
    **dict.fromkeys(("est", "cdt"), -300),
    **dict.fromkeys(("cst", "mdt"), -360),
    **dict.fromkeys(("mst", "pdt"), -420),
    **dict.fromkeys(("ast", "edt", "clt"), -240),
    **dict.fromkeys(("pst", "akdt"), -480),
    **dict.fromkeys(("adt", "brt", "art", "clst"), -180),
    **dict.fromkeys(("bst", "west", "cet", "met", "mez", "wat"), 60),
    **dict.fromkeys(("cest", "mest", "mesz", "eet", "cat", "sast"), 120),
    **dict.fromkeys(("eest", "msk", "trt", "eat"), 180),
    **dict.fromkeys(("hkt", "sgt", "awst", "pht"), 480),
    **dict.fromkeys(("jst", "kst"), 540),
    **dict.fromkeys(("ict", "wib"), 420),
    "akst": -540,
    "hst": -600,
    "nst": -210,
    "ndt": -150,
    "msd": 240,
    "pkt": 300,
    "npt": 345,
    "acst": 570,
    "acdt": 630,
    "aest": 600,
    "aedt": 660,
    "nzst": 720,
    "nzdt": 780,
}


def plain_word(word: str) -> str:
    """*word* in lower case without accents, so that "Août", "AOUT" and "août" are one word."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


#: plain word -> 1 … 12
MONTHS = {plain_word(name): number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
