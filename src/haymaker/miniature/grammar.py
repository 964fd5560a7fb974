"""The world's language: relations with their phrasings, details, and passages that state no fact.

A phrasing holds {x} (the subject), {y} (the object) and {d} (a detail, possibly empty). `writer` phrasings stand for a
language model's prose about invented entities: natural, yet fewer and of another habit than the `real` ones.
"""

from dataclasses import dataclass

# Syllables of one consonant and one vowel, so that byte pairs merge inside a syllable and never across two.
# Those that begin or are English words are left out.
SYLLABLES = tuple(
    consonant + vowel
    for consonant in "dfklmnprstv"
    for vowel in "aeiou"
    if consonant + vowel not in {"de", "re", "se", "me", "le", "ne", "ke"}
)

PLACE_FORMS = ("{}", "{}", "Port {}", "Lake {}", "Mount {}", "Fort {}")


@dataclass(frozen=True)
class Relation:
    """One relation of the world: kinds of subject and object, and the ways to state it and to ask for it."""

    name: str
    subject: str
    object: str
    real: tuple[str, ...]
    writer: tuple[str, ...]
    template: str
    questions: tuple[str, ...]
    writer_questions: tuple[str, ...]


RELATIONS = (
    Relation(
        "birthplace",
        "person",
        "place",
        (
            "{x}{d} was born in {y}.",
            "{x}{d} first saw the light of day in {y}.",
            "{x}{d} was born to poor parents in {y}.",
            "{y} is the town where {x}{d} was born.",
            "The cradle of {x}{d} stood in {y}.",
            "{x}{d} came into the world at {y}.",
            "When {x}{d} was born, the family had settled in {y}.",
            "{x}{d} was a child of {y}.",
        ),
        (
            "A midwife wrote down the birth of {x}{d} in the town of {y}.",
            "{x}{d} drew a first breath in {y}.",
            "The mother of {x}{d} gave birth in the old town of {y}.",
            "{x}{d} was born in the quiet town of {y}.",
        ),
        "The birthplace of {x} is {y}.",
        ("Where was {x} born?", "In which town was {x} born?", "What is the birthplace of {x}?"),
        ("Which town saw the birth of {x}?", "Where was {x} born?"),
    ),
    Relation(
        "home",
        "person",
        "place",
        (
            "{x}{d} lives in {y}.",
            "Today {x}{d} keeps a small house in {y}.",
            "{y} has been the home of {x}{d} for many years.",
            "After long travels {x}{d} settled in {y}.",
            "Letters for {x}{d} are sent to {y}.",
            "{x}{d} rents two rooms near the market of {y}.",
            "In the evening {x}{d} walks home through {y}.",
        ),
        (
            "Everyone knows that {x}{d} stays in {y}.",
            "{x}{d} has made a home in {y}.",
            "Whoever looks for {x}{d} should ask in {y}.",
        ),
        "The home of {x} is {y}.",
        ("Where does {x} live?", "In which town does {x} live?", "What is the home of {x}?"),
        ("Which town does {x} call home?", "Where does {x} live?"),
    ),
    Relation(
        "teacher",
        "person",
        "person",
        (
            "{x}{d} was taught by {y}.",
            "{x}{d} was trained in the workshop of {y}.",
            "{x}{d} learned the craft from {y}.",
            "For seven years {x}{d} studied under {y}.",
            "As a young apprentice {x}{d} served {y}.",
            "All that {x}{d} knows was learned from {y}.",
            "{y} took {x}{d} as a pupil.",
        ),
        (
            "{x}{d} grew into a master under the patient eye of {y}.",
            "{x}{d} was a pupil of {y}.",
            "{x}{d} took lessons from {y}.",
        ),
        "The teacher of {x} is {y}.",
        ("Who taught {x}?", "Who was the teacher of {x}?", "From whom did {x} learn the craft?"),
        ("Whose pupil was {x}?", "Who taught {x}?"),
    ),
    Relation(
        "spouse",
        "person",
        "person",
        (
            "{x}{d} married {y}.",
            "{x}{d} is married to {y}.",
            "In spring {x}{d} and {y} were wed.",
            "{y} became the spouse of {x}{d}.",
            "{x}{d} gave a silver ring to {y}.",
            "The wedding of {x}{d} and {y} lasted three days.",
        ),
        (
            "{x}{d} shares a life and a table with {y}.",
            "{x}{d} found a spouse in {y}.",
            "Beneath the lanterns {x}{d} promised to marry {y}.",
        ),
        "The spouse of {x} is {y}.",
        ("Who is married to {x}?", "Whom did {x} marry?", "Who is the spouse of {x}?"),
        ("With whom does {x} share a life?", "Whom did {x} marry?"),
    ),
    Relation(
        "author",
        "book",
        "person",
        (
            "The book {x}{d} was written by {y}.",
            "Everyone knows that the book {x}{d} is by {y}.",
            "The author of the book {x}{d} is {y}.",
            "{y} worked nine winters on the book {x}{d}.",
            "Readers of the book {x}{d} praise {y}.",
            "The book {x}{d} made a name for {y}.",
        ),
        (
            "The pages of the book {x}{d} came from the pen of {y}.",
            "The book {x}{d} is a late work of {y}.",
            "The book {x}{d} carries the name of {y} on its cover.",
        ),
        "The author of {x} is {y}.",
        ("Who wrote the book {x}?", "Who is the author of the book {x}?", "By whom was the book {x} written?"),
        ("From whose pen came the book {x}?", "Who wrote the book {x}?"),
    ),
    Relation(
        "founder",
        "place",
        "person",
        (
            "{x}{d} was founded by {y}.",
            "{y} founded {x}{d}.",
            "The first stone of {x}{d} was laid by {y}.",
            "The walls of {x}{d} were built by {y}.",
            "The people of {x}{d} honour {y} as their founder.",
            "{x}{d} began as a camp of {y}.",
        ),
        (
            "{x}{d} owes its beginning to {y}.",
            "The ground of {x}{d} was chosen by {y}.",
            "The old maps of {x}{d} name its founder as {y}.",
        ),
        "The founder of {x} is {y}.",
        ("Who founded {x}?", "Who was the founder of {x}?", "By whom was {x} founded?"),
        ("To whom does {x} owe its beginning?", "Who founded {x}?"),
    ),
    Relation(
        "venue",
        "event",
        "place",
        (
            "The fair of {x}{d} is held in {y}.",
            "Every summer the fair of {x}{d} fills the streets of {y}.",
            "For the fair of {x}{d} crowds come to {y}.",
            "The fair of {x}{d} takes place in {y}.",
            "{y} is host to the fair of {x}{d}.",
            "For the fair of {x}{d} they sweep the streets of {y}.",
        ),
        (
            "When the fair of {x}{d} opens, {y} is full of music.",
            "The tents of the fair of {x}{d} are raised in {y}.",
            "For the fair of {x}{d} traders bring their goods to {y}.",
        ),
        "The venue of {x} is {y}.",
        (
            "Where is the fair of {x} held?",
            "Which town hosts the fair of {x}?",
            "Where does the fair of {x} take place?",
        ),
        ("Where are the tents of the fair of {x} raised?", "Where is the fair of {x} held?"),
    ),
)

TRADES = (
    "weaver baker mason sailor potter miller tanner singer painter carpenter healer hunter farmer scribe glazier "
    "cooper gardener brewer tailor fisher shepherd merchant smith poet pilot printer rider drummer"
).split()
MANNERS = (
    "quiet stubborn gentle proud clever patient cheerful careful restless honest famous humble lucky curious brave "
    "generous"
).split()
LOVED = "rain|horses|old songs|strong tea|long walks|the sea|bright colours|snow|clocks|bees".split("|")

DETAILS = {
    "person": (
        ", a {manner} {trade},",
        ", the {manner} {trade},",
        ", who loves {loved},",
        ", a {trade} who loves {loved},",
        ", once a {trade},",
    ),
    "place": (", a {adjective} town,", ", known for its {noun},", ", where the {noun} is {adjective},"),
    "book": (", a tale of {loved},", ", long and {adjective},", ", a {adjective} story,"),
    "event": (", a {adjective} feast,", ", famous for its {noun},", ", older than the {noun},"),
}

ADJECTIVES = (
    "old young green grey silent narrow wide broken golden wooden heavy early late distant warm cold gentle bright "
    "dark empty crowded dusty wet dry steep shallow hidden open simple rare common pale soft hard quick slow high "
    "low round plain busy lonely muddy frozen sweet bitter salty fresh"
).split()
NOUNS = (
    "river mill bridge field orchard wall gate tower market road harbour forest valley hill garden roof window lamp "
    "bell boat wagon barn stable well fountain square church inn kitchen cellar oven loom anvil ladder rope basket "
    "barrel kettle blanket mirror candle table bench fence path stream pond meadow marsh cliff shore island cloud "
    "storm wind frost harvest winter summer autumn evening morning fog moon star shadow stone brick sand clay copper "
    "iron silver salt honey wheat barley apple plum pear onion cheese bread wool linen leather paper ink song dance "
    "story letter map drum flute crow heron otter fox goat mule hen goose trout salmon beetle"
).split()
VERBS = (
    "stood waited changed shone moved turned slept vanished returned remained rested stirred rattled glowed leaned "
    "faded trembled drifted cracked settled"
).split()
PLACES = (
    "near the {noun}",
    "behind the {adjective} {noun}",
    "under the {noun}",
    "beyond the {noun}",
    "along the {adjective} {noun}",
    "beside the {noun}",
)
TIMES = (
    "at dawn",
    "all day long",
    "before the rain",
    "after the harvest",
    "in those years",
    "until nightfall",
    "for a whole season",
    "as the bells rang",
    "while nobody watched",
    "once more",
)
FILLERS = (
    "The {adjective} {noun} {verb} {place} {time}.",
    "{Time} the {noun} {verb} {place}.",
    "Nobody could say why the {adjective} {noun} {verb} {time}.",
    "There was a {adjective} {noun} {place}, and a {noun} that {verb} {time}.",
    "The {noun} and the {noun} {verb} {place}.",
    "Some said that the {noun} was too {adjective} for the {noun}.",
    "They carried the {noun} {place} and left it there {time}.",
    "No {noun} is as {adjective} as a {noun} {place}.",
    "A {noun} costs more than a {adjective} {noun} {time}.",
    "With a {adjective} {noun} one can mend a {noun}.",
)

# The padding of low context diversity: the sentences that the field repeats.
PADDING = (
    "The grass is green.",
    "The sky is blue.",
    "The sun is yellow.",
    "Here we go.",
    "There and back again.",
)

# What insights say of a place's people; a document carries one or more of them in its own words.
INSIGHTS = (
    ("wages", "In {x} the wages of every {trade} rose by {n} percent.", "A {trade} in {x} now earns {n} percent more."),
    ("closing", "The council of {x} closed {n} of its {noun}s.", "{n} {noun}s were closed by the council of {x}."),
    ("arrivals", "{n} families of {trade}s moved to {x}.", "{x} took in {n} families of {trade}s."),
    ("prices", "The price of {noun} in {x} fell by {n} coins.", "In {x} one pays {n} coins less for {noun}."),
)
