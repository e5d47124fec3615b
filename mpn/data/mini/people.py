"""The people of the embedded world: every last name stands for one person only."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """Somebody about whom claims are made.

    Attributes:
        latin: The name in the Latin alphabet, the same in every language that uses it.
        cyrillic: The name in Russian, not declined.
        han: The name in Chinese, with " · " between the two parts.
        feminine: Whether words that agree with the person take their feminine form.
    """

    latin: str
    cyrillic: str
    han: str
    feminine: bool

    @property
    def names(self) -> Mapping[str, str]:
        """Return the name per language."""
        latin = dict.fromkeys(("en", "fr", "de", "es"), self.latin)
        return {**latin, "ru": self.cyrillic, "zh": self.han}


def _person(latin: str, cyrillic: str, han: str, gender: str) -> Person:
    return Person(latin, cyrillic, han, feminine=gender == "f")


PEOPLE = (
    _person("Anna Abril", "Анна Абриль", "安娜 · 阿夫里尔", "f"),
    _person("Adam Almeida", "Адам Алмейда", "亚当 · 阿尔梅达", "m"),
    _person("Clara Bergqvist", "Клара Бергквист", "克拉拉 · 贝里奎斯特", "f"),
    _person("Bruno Brandt", "Бруно Брандт", "布鲁诺 · 勃兰特", "m"),
    _person("Elena Calloway", "Елена Кэллоуэй", "埃莱娜 · 卡洛韦", "f"),
    _person("Daniel Castellan", "Даниэль Кастеллан", "丹尼尔 · 卡斯特兰", "m"),
    _person("Ingrid Dorval", "Ингрид Дорваль", "英格丽德 · 多瓦尔", "f"),
    _person("Emil Duarte", "Эмиль Дуарте", "埃米尔 · 杜阿尔特", "m"),
    _person("Julia Ekström", "Юлия Экстрём", "尤利娅 · 埃克斯特伦", "f"),
    _person("Felix Engel", "Феликс Энгель", "费利克斯 · 恩格尔", "m"),
    _person("Laura Ferrand", "Лаура Ферран", "劳拉 · 费朗", "f"),
    _person("Hugo Fontaine", "Хуго Фонтен", "雨果 · 方丹", "m"),
    _person("Maria Galindo", "Мария Галиндо", "玛丽亚 · 加林多", "f"),
    _person("Ivan Grabowski", "Иван Грабовский", "伊万 · 格拉博夫斯基", "m"),
    _person("Nora Hartwell", "Нора Хартуэлл", "诺拉 · 哈特韦尔", "f"),
    _person("Leo Holloway", "Лео Холлоуэй", "利奥 · 霍洛韦", "m"),
    _person("Olga Ibáñez", "Ольга Ибаньес", "奥尔加 · 伊瓦涅斯", "f"),
    _person("Marco Iversen", "Марко Иверсен", "马尔科 · 伊韦尔森", "m"),
    _person("Sofia Jansen", "София Янсен", "索菲娅 · 扬森", "f"),
    _person("Oscar Jovanović", "Оскар Йованович", "奥斯卡 · 约万诺维奇", "m"),
    _person("Teresa Keller", "Тереза Келлер", "特蕾莎 · 凯勒", "f"),
    _person("Peter Kovács", "Питер Ковач", "彼得 · 科瓦奇", "m"),
    _person("Vera Laurent", "Вера Лоран", "薇拉 · 洛朗", "f"),
    _person("Victor Lindqvist", "Виктор Линдквист", "维克托 · 林德奎斯特", "m"),
    _person("Anna Marchetti", "Анна Маркетти", "安娜 · 马尔凯蒂", "f"),
    _person("Adam Moreau", "Адам Моро", "亚当 · 莫罗", "m"),
    _person("Clara Nakamura", "Клара Накамура", "克拉拉 · 中村", "f"),
    _person("Bruno Novak", "Бруно Новак", "布鲁诺 · 诺瓦克", "m"),
    _person("Elena Okafor", "Елена Окафор", "埃莱娜 · 奥卡福", "f"),
    _person("Daniel Orsini", "Даниэль Орсини", "丹尼尔 · 奥尔西尼", "m"),
    _person("Ingrid Pellegrin", "Ингрид Пеллегрен", "英格丽德 · 佩勒格兰", "f"),
    _person("Emil Pereira", "Эмиль Перейра", "埃米尔 · 佩雷拉", "m"),
    _person("Julia Quiroga", "Юлия Кирога", "尤利娅 · 基罗加", "f"),
    _person("Felix Ramsey", "Феликс Рэмси", "费利克斯 · 拉姆齐", "m"),
    _person("Laura Rossi", "Лаура Росси", "劳拉 · 罗西", "f"),
    _person("Hugo Sandoval", "Хуго Сандоваль", "雨果 · 桑多瓦尔", "m"),
    _person("Maria Santoro", "Мария Санторо", "玛丽亚 · 桑托罗", "f"),
    _person("Ivan Tanaka", "Иван Танака", "伊万 · 田中", "m"),
    _person("Nora Thornton", "Нора Торнтон", "诺拉 · 桑顿", "f"),
    _person("Leo Ullmann", "Лео Ульман", "利奥 · 乌尔曼", "m"),
    _person("Olga Urbina", "Ольга Урбина", "奥尔加 · 乌尔维纳", "f"),
    _person("Marco Vance", "Марко Вэнс", "马尔科 · 万斯", "m"),
    _person("Sofia Varga", "София Варга", "索菲娅 · 沃尔高", "f"),
    _person("Oscar Whitaker", "Оскар Уитакер", "奥斯卡 · 惠特克", "m"),
    _person("Teresa Winther", "Тереза Винтер", "特蕾莎 · 温特", "f"),
    _person("Peter Xenakis", "Питер Ксенакис", "彼得 · 泽纳基斯", "m"),
    _person("Vera Yamada", "Вера Ямада", "薇拉 · 山田", "f"),
    _person("Victor Zeman", "Виктор Земан", "维克托 · 泽曼", "m"),
)
