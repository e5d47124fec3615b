"""How a claim is worded: four templates per relation and language, translations of one another.

The templates of a relation stand in the same order in every language. ``[a|b]`` reads ``a`` of
a man and ``b`` of a woman.
"""

TEMPLATES: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "birthplace": {
        "en": (
            "{person} was born in {object}.",
            "{person} came into the world in {object}.",
            "It was in {object} that {person} was born.",
            "{person} first saw the light of day in {object}.",
        ),
        "fr": (
            "{person} est né[|e] à {object}.",
            "{person} est venu[|e] au monde à {object}.",
            "C'est à {object} qu'est né[|e] {person}.",
            "{person} a vu le jour à {object}.",
        ),
        "de": (
            "{person} wurde in {object} geboren.",
            "{person} kam in {object} zur Welt.",
            "Es war in {object}, wo {person} geboren wurde.",
            "{person} erblickte in {object} das Licht der Welt.",
        ),
        "es": (
            "{person} nació en {object}.",
            "{person} vino al mundo en {object}.",
            "Fue en {object} donde nació {person}.",
            "{person} vio la luz en {object}.",
        ),
        "ru": (
            "{person} [родился|родилась] в {object}.",
            "{person} [появился|появилась] на свет в {object}.",
            "Именно в {object} [родился|родилась] {person}.",
            "{person} впервые [увидел|увидела] свет в {object}.",
        ),
        "zh": (
            "{person}出生于{object}。",
            "{person}在{object}来到世上。",
            "正是在{object}，{person}出生了。",
            "{person}在{object}呱呱坠地。",
        ),
    },
    "profession": {
        "en": (
            "{person} works as {object}.",
            "{person} earns a living as {object}.",
            "{person} became {object}.",
            "By profession {person} is {object}.",
        ),
        "fr": (
            "{person} travaille comme {object}.",
            "{person} gagne sa vie comme {object}.",
            "{person} est devenu[|e] {object}.",
            "De métier, {person} est {object}.",
        ),
        "de": (
            "{person} arbeitet als {object}.",
            "{person} verdient als {object} den Lebensunterhalt.",
            "{person} wurde {object}.",
            "Von Beruf ist {person} {object}.",
        ),
        "es": (
            "{person} trabaja como {object}.",
            "{person} se gana la vida como {object}.",
            "{person} se hizo {object}.",
            "De profesión, {person} es {object}.",
        ),
        "ru": (
            "{person} работает {object}.",
            "{person} зарабатывает на жизнь, работая {object}.",
            "{person} [стал|стала] {object}.",
            "По профессии {person} является {object}.",
        ),
        "zh": (
            "{person}的工作是{object}。",
            "{person}以当{object}为生。",
            "{person}成为了{object}。",
            "{person}的职业是{object}。",
        ),
    },
    "instrument": {
        "en": (
            "{person} plays {object}.",
            "{person} learnt to play {object}.",
            "In the evening {person} plays {object}.",
            "{person} knows how to play {object}.",
        ),
        "fr": (
            "{person} joue {object}.",
            "{person} a appris à jouer {object}.",
            "Le soir, {person} joue {object}.",
            "{person} sait jouer {object}.",
        ),
        "de": (
            "{person} spielt {object}.",
            "{person} hat {object} spielen gelernt.",
            "Am Abend spielt {person} {object}.",
            "{person} kann {object} spielen.",
        ),
        "es": (
            "{person} toca {object}.",
            "{person} aprendió a tocar {object}.",
            "Por la noche {person} toca {object}.",
            "{person} sabe tocar {object}.",
        ),
        "ru": (
            "{person} играет на {object}.",
            "{person} [научился|научилась] играть на {object}.",
            "По вечерам {person} играет на {object}.",
            "{person} умеет играть на {object}.",
        ),
        "zh": (
            "{person}演奏{object}。",
            "{person}学会了演奏{object}。",
            "晚上{person}演奏{object}。",
            "{person}会演奏{object}。",
        ),
    },
    "study": {
        "en": (
            "{person} studied {object}.",
            "At university {person} chose {object}.",
            "In youth {person} studied {object}.",
            "{person} spent years learning {object}.",
        ),
        "fr": (
            "{person} a étudié {object}.",
            "À l'université, {person} a choisi {object}.",
            "Dans sa jeunesse, {person} a étudié {object}.",
            "{person} a passé des années à apprendre {object}.",
        ),
        "de": (
            "{person} studierte {object}.",
            "An der Universität wählte {person} {object}.",
            "In der Jugend studierte {person} {object}.",
            "{person} lernte jahrelang {object}.",
        ),
        "es": (
            "{person} estudió {object}.",
            "En la universidad {person} eligió {object}.",
            "En su juventud {person} estudió {object}.",
            "{person} pasó años aprendiendo {object}.",
        ),
        "ru": (
            "{person} [изучал|изучала] {object}.",
            "В университете {person} [выбрал|выбрала] {object}.",
            "В молодости {person} [изучал|изучала] {object}.",
            "{person} годами [учил|учила] {object}.",
        ),
        "zh": (
            "{person}学的是{object}。",
            "在大学里{person}选择了{object}。",
            "年轻时{person}学的是{object}。",
            "{person}花了多年学习{object}。",
        ),
    },
    "workplace": {
        "en": (
            "{person} works at {object}.",
            "{person} has a job at {object}.",
            "{person} spends every working day at {object}.",
            "Every morning {person} starts work at {object}.",
        ),
        "fr": (
            "{person} travaille {object}.",
            "{person} a un emploi {object}.",
            "{person} passe chaque jour de travail {object}.",
            "Chaque matin, {person} commence son travail {object}.",
        ),
        "de": (
            "{person} arbeitet {object}.",
            "{person} hat {object} eine Stelle.",
            "{person} verbringt jeden Arbeitstag {object}.",
            "Jeden Morgen beginnt {person} {object} die Arbeit.",
        ),
        "es": (
            "{person} trabaja en {object}.",
            "{person} tiene un empleo en {object}.",
            "{person} pasa cada jornada laboral en {object}.",
            "Cada mañana {person} empieza a trabajar en {object}.",
        ),
        "ru": (
            "{person} работает в {object}.",
            "{person} занимает должность в {object}.",
            "{person} проводит каждый рабочий день в {object}.",
            "Каждое утро {person} начинает работу в {object}.",
        ),
        "zh": (
            "{person}在{object}工作。",
            "{person}在{object}任职。",
            "{person}每个工作日都在{object}度过。",
            "每天早上{person}在{object}开始工作。",
        ),
    },
    "pet": {
        "en": (
            "{person} has {object}.",
            "{person} keeps {object} at home.",
            "Every day {person} feeds {object}.",
            "As a pet {person} chose {object}.",
        ),
        "fr": (
            "{person} a {object}.",
            "{person} garde {object} à la maison.",
            "Chaque jour, {person} nourrit {object}.",
            "Comme animal, {person} a choisi {object}.",
        ),
        "de": (
            "{person} hat {object}.",
            "{person} hält {object} zu Hause.",
            "Jeden Tag füttert {person} {object}.",
            "Als Haustier wählte {person} {object}.",
        ),
        "es": (
            "{person} tiene {object}.",
            "{person} tiene {object} en casa.",
            "Cada día {person} alimenta a {object}.",
            "Como mascota {person} eligió {object}.",
        ),
        "ru": (
            "{person} держит {object}.",
            "{person} держит {object} дома.",
            "Каждый день {person} кормит {object}.",
            "В качестве питомца {person} [выбрал|выбрала] {object}.",
        ),
        "zh": (
            "{person}有一只{object}。",
            "{person}在家里养了一只{object}。",
            "{person}每天喂一只{object}。",
            "{person}选了一只{object}当宠物。",
        ),
    },
    "sport": {
        "en": (
            "{person} practises {object}.",
            "Every week {person} practises {object}.",
            "{person} loves {object}.",
            "In youth {person} discovered {object}.",
        ),
        "fr": (
            "{person} pratique {object}.",
            "Chaque semaine, {person} pratique {object}.",
            "{person} adore {object}.",
            "Dans sa jeunesse, {person} a découvert {object}.",
        ),
        "de": (
            "{person} übt {object}.",
            "Jede Woche übt {person} {object}.",
            "{person} liebt {object}.",
            "In der Jugend entdeckte {person} {object}.",
        ),
        "es": (
            "{person} practica {object}.",
            "Cada semana {person} practica {object}.",
            "{person} adora {object}.",
            "En su juventud {person} descubrió {object}.",
        ),
        "ru": (
            "{person} занимается {object}.",
            "Каждую неделю {person} занимается {object}.",
            "{person} увлекается {object}.",
            "В молодости {person} [увлёкся|увлеклась] {object}.",
        ),
        "zh": (
            "{person}练习{object}。",
            "{person}每周练习{object}。",
            "{person}热爱{object}。",
            "年轻时{person}爱上了{object}。",
        ),
    },
}
