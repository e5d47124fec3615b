"""What can be claimed of a person, per relation: one row per object, one column per language.

An object is written in the one grammatical form that all templates of its relation and language
ask for: with its article or preposition, in its case. ``[a|b]`` reads ``a`` of a man and ``b``
of a woman.
"""

LANGUAGES = ("en", "fr", "de", "es", "ru", "zh")

Row = tuple[str, str, str, str, str, str]

_BIRTHPLACE: tuple[Row, ...] = (
    ("Lisbon", "Lisbonne", "Lissabon", "Lisboa", "Лиссабоне", "里斯本"),
    ("Vienna", "Vienne", "Wien", "Viena", "Вене", "维也纳"),
    ("Prague", "Prague", "Prag", "Praga", "Праге", "布拉格"),
    ("Warsaw", "Varsovie", "Warschau", "Varsovia", "Варшаве", "华沙"),
    ("Geneva", "Genève", "Genf", "Ginebra", "Женеве", "日内瓦"),
    ("Naples", "Naples", "Neapel", "Nápoles", "Неаполе", "那不勒斯"),
    ("Athens", "Athènes", "Athen", "Atenas", "Афинах", "雅典"),
    ("Dublin", "Dublin", "Dublin", "Dublín", "Дублине", "都柏林"),
    ("Seville", "Séville", "Sevilla", "Sevilla", "Севилье", "塞维利亚"),
    ("Munich", "Munich", "München", "Múnich", "Мюнхене", "慕尼黑"),
    ("Brussels", "Bruxelles", "Brüssel", "Bruselas", "Брюсселе", "布鲁塞尔"),
    ("Copenhagen", "Copenhague", "Kopenhagen", "Copenhague", "Копенгагене", "哥本哈根"),
    ("Kyoto", "Kyoto", "Kyoto", "Kioto", "Киото", "京都"),
    ("Beijing", "Pékin", "Peking", "Pekín", "Пекине", "北京"),
    ("Moscow", "Moscou", "Moskau", "Moscú", "Москве", "莫斯科"),
    ("Istanbul", "Istanbul", "Istanbul", "Estambul", "Стамбуле", "伊斯坦布尔"),
)

_PROFESSION: tuple[Row, ...] = (
    ("an architect", "architecte", "Architekt[|in]", "arquitect[o|a]", "архитектором", "建筑师"),
    ("a baker", "boulang[er|ère]", "Bäcker[|in]", "panader[o|a]", "пекарем", "面包师"),
    ("a painter", "peintre", "Maler[|in]", "pintor[|a]", "художни[ком|цей]", "画家"),
    ("a judge", "juge", "Richter[|in]", "juez[|a]", "судьёй", "法官"),
    ("a teacher", "enseignant[|e]", "Lehrer[|in]", "maestr[o|a]", "учител[ем|ьницей]", "教师"),
    ("a gardener", "jardini[er|ère]", "Gärtner[|in]", "jardiner[o|a]", "садовником", "园丁"),
    ("a journalist", "journaliste", "Journalist[|in]", "periodista", "журналист[ом|кой]", "记者"),
    ("a pilot", "pilote", "Pilot[|in]", "piloto", "пилотом", "飞行员"),
    ("a carpenter", "menuisi[er|ère]", "Tischler[|in]", "carpinter[o|a]", "плотником", "木匠"),
    ("a dentist", "dentiste", "Zahn[arzt|ärztin]", "dentista", "стоматологом", "牙医"),
    ("a cook", "cuisini[er|ère]", "K[och|öchin]", "cociner[o|a]", "поваром", "厨师"),
    ("a nurse", "infirmi[er|ère]", "Pfleger[|in]", "enfermer[o|a]", "мед[братом|сестрой]", "护士"),
    ("a sailor", "marin", "Matros[e|in]", "mariner[o|a]", "моряком", "水手"),
    ("a watchmaker", "horlog[er|ère]", "Uhrmacher[|in]", "relojer[o|a]", "часовщиком", "钟表匠"),
)

_INSTRUMENT: tuple[Row, ...] = (
    ("the violin", "du violon", "Geige", "el violín", "скрипке", "小提琴"),
    ("the piano", "du piano", "Klavier", "el piano", "фортепиано", "钢琴"),
    ("the flute", "de la flûte", "Flöte", "la flauta", "флейте", "长笛"),
    ("the cello", "du violoncelle", "Cello", "el violonchelo", "виолончели", "大提琴"),
    ("the trumpet", "de la trompette", "Trompete", "la trompeta", "трубе", "小号"),
    ("the harp", "de la harpe", "Harfe", "el arpa", "арфе", "竖琴"),
    ("the guitar", "de la guitare", "Gitarre", "la guitarra", "гитаре", "吉他"),
    ("the organ", "de l'orgue", "Orgel", "el órgano", "органе", "管风琴"),
    ("the clarinet", "de la clarinette", "Klarinette", "el clarinete", "кларнете", "单簧管"),
    ("the oboe", "du hautbois", "Oboe", "el oboe", "гобое", "双簧管"),
    ("the drums", "de la batterie", "Schlagzeug", "la batería", "барабанах", "架子鼓"),
    ("the accordion", "de l'accordéon", "Akkordeon", "el acordeón", "аккордеоне", "手风琴"),
    ("the saxophone", "du saxophone", "Saxofon", "el saxofón", "саксофоне", "萨克斯管"),
    ("the trombone", "du trombone", "Posaune", "el trombón", "тромбоне", "长号"),
)

_STUDY: tuple[Row, ...] = (
    ("physics", "la physique", "Physik", "física", "физику", "物理学"),
    ("chemistry", "la chimie", "Chemie", "química", "химию", "化学"),
    ("history", "l'histoire", "Geschichte", "historia", "историю", "历史学"),
    ("law", "le droit", "Jura", "derecho", "право", "法学"),
    ("medicine", "la médecine", "Medizin", "medicina", "медицину", "医学"),
    ("philosophy", "la philosophie", "Philosophie", "filosofía", "философию", "哲学"),
    ("astronomy", "l'astronomie", "Astronomie", "astronomía", "астрономию", "天文学"),
    ("geology", "la géologie", "Geologie", "geología", "геологию", "地质学"),
    ("mathematics", "les mathématiques", "Mathematik", "matemáticas", "математику", "数学"),
    ("linguistics", "la linguistique", "Linguistik", "lingüística", "лингвистику", "语言学"),
    ("economics", "l'économie", "Ökonomie", "economía", "экономику", "经济学"),
    ("botany", "la botanique", "Botanik", "botánica", "ботанику", "植物学"),
    ("archaeology", "l'archéologie", "Archäologie", "arqueología", "археологию", "考古学"),
    ("computing", "l'informatique", "Informatik", "informática", "информатику", "计算机科学"),
)

_WORKPLACE: tuple[Row, ...] = (
    ("the museum", "au musée", "im Museum", "el museo", "музее", "博物馆"),
    (
        "the library",
        "à la bibliothèque",
        "in der Bibliothek",
        "la biblioteca",
        "библиотеке",
        "图书馆",
    ),
    ("the hospital", "à l'hôpital", "im Krankenhaus", "el hospital", "больнице", "医院"),
    ("the port", "au port", "im Hafen", "el puerto", "порту", "港口"),
    ("the airport", "à l'aéroport", "am Flughafen", "el aeropuerto", "аэропорту", "机场"),
    ("the theatre", "au théâtre", "im Theater", "el teatro", "театре", "剧院"),
    ("the bank", "à la banque", "in der Bank", "el banco", "банке", "银行"),
    (
        "the university",
        "à l'université",
        "an der Universität",
        "la universidad",
        "университете",
        "大学",
    ),
    ("the town hall", "à la mairie", "im Rathaus", "el ayuntamiento", "мэрии", "市政厅"),
    ("the zoo", "au zoo", "im Zoo", "el zoológico", "зоопарке", "动物园"),
    ("the embassy", "à l'ambassade", "in der Botschaft", "la embajada", "посольстве", "大使馆"),
    ("the castle", "au château", "im Schloss", "el castillo", "замке", "城堡"),
)

_PET: tuple[Row, ...] = (
    ("a cat", "un chat", "eine Katze", "un gato", "кошку", "猫"),
    ("a dog", "un chien", "einen Hund", "un perro", "собаку", "狗"),
    ("a parrot", "un perroquet", "einen Papagei", "un loro", "попугая", "鹦鹉"),
    ("a rabbit", "un lapin", "ein Kaninchen", "un conejo", "кролика", "兔子"),
    ("a tortoise", "une tortue", "eine Schildkröte", "una tortuga", "черепаху", "乌龟"),
    ("a hamster", "un hamster", "einen Hamster", "un hámster", "хомяка", "仓鼠"),
    ("a canary", "un canari", "einen Kanarienvogel", "un canario", "канарейку", "金丝雀"),
    ("a mouse", "une souris", "eine Maus", "un ratón", "мышь", "小鼠"),
    ("a hedgehog", "un hérisson", "einen Igel", "un erizo", "ежа", "刺猬"),
    ("a goat", "une chèvre", "eine Ziege", "una cabra", "козу", "山羊"),
    ("a duck", "un canard", "eine Ente", "un pato", "утку", "鸭子"),
    ("a ferret", "un furet", "ein Frettchen", "un hurón", "хорька", "雪貂"),
)

_SPORT: tuple[Row, ...] = (
    ("fencing", "l'escrime", "Fechten", "la esgrima", "фехтованием", "击剑"),
    ("swimming", "la natation", "Schwimmen", "la natación", "плаванием", "游泳"),
    ("rowing", "l'aviron", "Rudern", "el remo", "греблей", "划船"),
    ("judo", "le judo", "Judo", "el judo", "дзюдо", "柔道"),
    ("archery", "le tir à l'arc", "Bogenschießen", "el tiro con arco", "стрельбой из лука", "射箭"),
    ("tennis", "le tennis", "Tennis", "el tenis", "теннисом", "网球"),
    ("skiing", "le ski", "Skifahren", "el esquí", "лыжами", "滑雪"),
    ("sailing", "la voile", "Segeln", "la vela", "парусным спортом", "帆船"),
    ("cycling", "le cyclisme", "Radfahren", "el ciclismo", "велоспортом", "自行车"),
    ("boxing", "la boxe", "Boxen", "el boxeo", "боксом", "拳击"),
    ("wrestling", "la lutte", "Ringen", "la lucha", "борьбой", "摔跤"),
    ("gymnastics", "la gymnastique", "Turnen", "la gimnasia", "гимнастикой", "体操"),
    ("climbing", "l'escalade", "Klettern", "la escalada", "скалолазанием", "攀岩"),
    ("volleyball", "le volley-ball", "Volleyball", "el voleibol", "волейболом", "排球"),
)

OBJECTS: dict[str, tuple[Row, ...]] = {
    "birthplace": _BIRTHPLACE,
    "profession": _PROFESSION,
    "instrument": _INSTRUMENT,
    "study": _STUDY,
    "workplace": _WORKPLACE,
    "pet": _PET,
    "sport": _SPORT,
}
