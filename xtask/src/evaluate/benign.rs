//! Legitimate values of kinds that detectors stumble over, of other origin than the training's:
//! this workspace's own sources and documents, the JSON and JOSE test sets, and lists below.
//! Nothing here is trained on.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use jotwatch_models::{
    payload::{Form, Place},
    train::Random,
};

use super::fresh;
use crate::{
    setup,
    train::data::{Label, Sample, Source, part},
};

fn sample(form: Form, text: &str) -> Sample {
    Sample::new(Source::Generated, Label::Benign, vec![part(Place::Body, form, text)])
}

fn texts<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Sample> {
    lines
        .into_iter()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(|l| sample(Form::Text, l))
        .collect()
}

/// The lines of a file that anybody has.
///
/// # Errors
/// A file that can't be read.
pub(super) fn lines(file: &Path) -> Result<Vec<Sample>> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(texts(String::from_utf8_lossy(&bytes).lines()))
}

/// The files below `dir` that end in one of `ends`, in the order of their names.
fn files(dir: &Path, ends: &[&str], out: &mut Vec<String>) -> Result<()> {
    let mut entries = fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            files(&path, ends, out)?;
        } else if ends.iter().any(|end| path.to_string_lossy().ends_with(end))
            && let Ok(text) = fs::read_to_string(&path)
        {
            out.push(text);
        }
    }
    Ok(())
}

/// Single lines and blocks of eight of this workspace's sources, but for those that are about
/// attacks: the detectors, their training, and the test cases.
fn code() -> Result<Vec<Sample>> {
    let mut sources = Vec::new();
    for dir in [
        "common/src",
        "sensor/src/flow",
        "sensor/src/capture",
        "sensor/src/config",
        "sensor/src/daemon",
        "sensor/src/sinks",
        "sensor/src/cli",
        "xtask/src/bench",
        "sensor/src/keys",
    ] {
        files(&setup::workspace().join(dir), &[".rs", ".conf"], &mut sources)?;
    }
    let mut out = Vec::new();
    for text in &sources {
        out.extend(texts(text.lines().step_by(3)));
        let lines: Vec<&str> = text.lines().collect();
        out.extend(lines.chunks(8).map(|c| sample(Form::Text, &c.join("\n"))));
    }
    Ok(out)
}

fn documents() -> Result<Vec<Sample>> {
    let mut out = Vec::new();
    for name in [
        "ARCHITECTURE.md",
        "README.md",
        "CHANGELOG.md",
        "docs/configuration.md",
        "docs/performance.md",
        "docs/events.md",
        "docs/loss.md",
    ] {
        let text = fs::read_to_string(setup::workspace().join(name))?;
        out.extend(texts(text.split("\n\n")));
    }
    Ok(out)
}

fn json(data: &Path) -> Result<Vec<Sample>> {
    let mut all = Vec::new();
    files(&data.join("json/test_parsing"), &[".json"], &mut all)?;
    // The schema and example events of this project are JSON bodies, too.
    files(&setup::workspace().join("docs"), &[".json"], &mut all)?;
    let mut cookbook = Vec::new();
    files(&data.join("jose/cookbook"), &[".json"], &mut cookbook)?;
    all.extend(cookbook);
    Ok(all.iter().map(|text| sample(Form::Json, text)).collect())
}

/// Random bytes as base64, base64url, hexadecimal and UUIDs.
fn random_texts() -> (Vec<Sample>, Vec<Sample>) {
    use base64::{Engine as _, engine::general_purpose as b64};
    let mut random = Random::new(7);
    let (mut base64, mut uuids) = (Vec::new(), Vec::new());
    for n in 0..3000 {
        let bytes: Vec<u8> = (0..8 + n % 120).map(|_| random.bits() as u8).collect();
        let text = if n % 2 == 0 {
            b64::STANDARD.encode(&bytes)
        } else {
            b64::URL_SAFE_NO_PAD.encode(&bytes)
        };
        base64.push(sample(Form::Text, &text));
        let (a, b) = (random.bits(), random.bits());
        uuids.push(sample(
            Form::Text,
            &format!(
                "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                a >> 32,
                a >> 16 & 0xffff,
                a & 0xfff,
                b >> 48 & 0x3fff | 0x8000,
                b & 0xffff_ffff_ffff
            ),
        ));
    }
    for text in PLAIN.lines().map(str::trim).filter(|l| !l.is_empty()) {
        base64.push(sample(Form::Text, &b64::STANDARD.encode(text)));
    }
    (base64, uuids)
}

/// Every name with every surrounding.
fn names() -> Vec<Sample> {
    let mut out = Vec::new();
    for name in NAMES.split(',').map(str::trim) {
        for around in [
            "{}",
            "{} & Sons",
            "Mr. {}",
            "{}, Sean",
            "Dear {}, thank you!",
            "\"{}\"",
            "{} (manager)",
            "care of {}",
            "{}'s order",
            "{} - 2nd floor",
            "search: {} or similar",
            "is {} in?",
        ] {
            out.push(sample(Form::Text, &around.replace("{}", name)));
        }
        out.push(sample(
            Form::Json,
            &format!("{{\"name\": \"{name}\", \"note\": \"it's {name}\"}}"),
        ));
        out.push(sample(
            Form::Pairs,
            &format!("name={}&c=1", name.replace('\'', "%27").replace(' ', "+")),
        ));
    }
    out
}

/// The sets by name.
///
/// # Errors
/// A file of the workspace or the data that is missing.
pub(super) fn sets(data: &Path) -> Result<Vec<(&'static str, Vec<Sample>)>> {
    let (base64, uuids) = random_texts();
    let lines: Vec<String> = fresh::SENTENCES.lines().map(|l| l.replace("\\n", "\n")).collect();
    let sentences = texts(lines.iter().map(String::as_str));
    Ok(vec![
        ("names", names()),
        ("shop searches", texts(SEARCHES.lines())),
        ("sentences", texts(PLAIN.lines())),
        ("snippets", texts(SNIPPETS.lines())),
        ("more shop searches", texts(fresh::SEARCHES.lines())),
        ("more sentences", sentences),
        ("more snippets", texts(fresh::SNIPPETS.lines())),
        ("blind searches", texts(fresh::BLIND_SEARCHES.lines())),
        ("blind snippets", texts(fresh::BLIND_SNIPPETS.lines())),
        ("(statements, commands)", texts(fresh::VERBATIM.lines())),
        ("source code (Rust)", code()?),
        ("documents", documents()?),
        ("JSON", json(data)?),
        ("base64", base64),
        ("UUIDs", uuids),
    ])
}

const NAMES: &str = "O'Brien, O'Connor, O'Sullivan, O'Hara, O'Malley, O'Shea, D'Souza, D'Amico, D'Agostino, D'Onofrio, \
    L'Heureux, M'Bala, N'Diaye, Dell'Orso, Sant'Anna, Dall'Aglio, De'Ath, T'Pau, Ta'ameu, 't Hooft, van 't Hoff, Jean d'Arc, \
    Conan O'Brien, Sinéad O'Connor, Chris O'Dowd, Shaquille O'Neal, Rosie O'Donnell, Union Smith, Anderson Select, Drop Tableman, \
    Robert Tables, Orson Andrews, Null, Jennifer Null, Christopher Null, Ann Dor, Sandor Like, Ron Dash--Miller, \
    José María, Jürgen Groß, 李小龙, Nguyễn Văn An, Åse Øvergård, Smith; Jones, A/S Dansk, AT&T, Johnson & Johnson, Marks & Spencer";

const SEARCHES: &str = "
    select a mattress from our store
    select a size from the menu and order by friday
    western union near me
    european union flag
    credit union or bank
    union select committee
    drop table leaf hinge
    drop down table for wall
    delete from my list
    insert into frame picture 8x10
    insert coin
    update my order
    update set of knives
    where is my order
    where to eat and drink in rome
    order by 5 pm
    order by number 7
    group by age
    having a baby
    between 20 and 30 inches
    shoes between $50 and $100
    blue or green and not red
    black and white or grey
    1 or 2 bedroom flat
    2 and 3 seater sofa
    7 or 8 inch tablet
    like new iphone
    top 10 laptops
    table lamps and shades
    table for 2 or 4
    case of wine when on sale
    null hypothesis book
    char siu sauce
    count of monte cristo
    values and principles
    join the club
    left outer wing mirror
    inner join hinge set
    exec leather chair
    alter ego perfume
    alter table height desk
    create table decoration
    grant application from foundation
    database design book
    sql for dummies
    learn sql: select, insert and update
    truncate icosahedron
    cast iron pan and lid
    convert pdf to word
    sleep (2 pack)
    sleep number 360
    benchmark (crossfit)
    substring method java
    version 2 or later
    ladies' shoes and men's boots
    men's and women's
    kids' toys & games
    5' x 7' rug
    6'2\" mannequin
    24\" monitor or 27\" monitor
    12\" or 14\" pan
    \"harry potter\" and \"order of the phoenix\"
    \"exact phrase\" or other
    'vintage' and 'retro' lamp
    rock 'n' roll t-shirt
    salt 'n' pepper shaker
    fender '65 reissue
    c# programming
    c++ or java
    a/c unit -- window
    e-reader--waterproof
    laptop <= 1000
    price < 50 and > 10
    size=10
    size = 10 or size = 11
    1=1 shirt
    love = love
    script lichen stain
    javascript: the good parts
    javascript book onload
    image source ltd
    iframe glasses
    body lotion onsale
    alert (music album)
    document(s) shredder
    cookie cutter <3
    style & link ltd
    cat litter; dog food
    cat 6 cable | 5m
    dir en grey cd
    echo & the bunnymen
    ping g425 driver
    more & less
    who wants to be a millionaire?
    head/shoulders dummy
    tail light; brake light
    find & seek game
    sort by price
    host & hostess
    id badge holder && lanyard
    bash brothers
    perl necklace
    net curtain
    type c cable
    passwd keeper
    etc. and so on
    ../ a novel
    windows 11 home
    system32 sticker
    50% off or more
    100%25 cotton
    r&b music
    q&a
    m&m's
    ben & jerry's
    h&m or c&a
    p!nk
    ke$ha
    $50 gift card
    #1 dad mug
    (500) days of summer
    {hello} print
    [rec] dvd
    50/50
    and/or
    n/a
    yes/no
    tcp/ip illustrated
    he/she/they
    www.example.com
    http://example.com
    star*wars
    wild*card
    ***sale***
    !!! band
    ?
    what?!
    :-)
    <3
    ...
    --
    o'clock
    it's
    don't look up
    ocean's 11 or 12
    ocean's eleven and ocean's twelve
    mcdonald's and wendy's
    schindler's list
    hitchhiker's guide
    assassin's creed
    tom clancy's
    levi's 501 or 505
    dr. martens
";

const PLAIN: &str = "
    I can't log in and I don't know why; could you please help?
    Please cancel my order (no. 48291), it's the wrong size.
    He said \"select the blue one\" and then left.
    The committee will select members from the union, and insert them into the table.
    Where do I update my address? The form doesn't save.
    We should drop the table reservation and order by phone instead.
    The invoice = the sum of all items - 10% discount.
    If a = 1 and b = 2, then a + b = 3.
    Great product!!! 5/5 -- would buy again :)
    My phone is +44 20 7946 0958; my e-mail is jane.doe@example.org.
    I've attached the log file: C:\\Users\\jane\\app.log
    The file is in /home/jane/report.pdf or ~/Documents.
    See https://example.com/help?topic=orders&lang=en#returns for details.
    Use <b> for bold and <i> for italics.
    a < b and b < c, so a < c
    Is it x > 5 or x >= 5?
    She's 5'4\" and he's 6'1\".
    Temperature: -5 °C (23 °F) @ 10:30
    Cost: $5.00 + tax; total: $5.40
    C&A, H&M, M&S, AT&T
    Tom's, Dick's & Harry's
    \"To be, or not to be\" -- that's the question.
    'Twas the night before Christmas, and all through the house
    Rock 'n' roll ain't noise pollution
    Let's meet at 5 o'clock; bring your friends' coats.
    This is a test. # not a comment
    To do: 1) call; 2) write; 3) sleep
    Like & subscribe! #fun @home
    Don't use eval in JavaScript: it's slow.
    The onload event fires when the page's loaded.
    Our alert (see below) is sent when the system is down.
    The cookie document is on my desk.
    Type cat and press enter to show the file.
    Run the script, then ping me.
    SELECT is an SQL keyword, as are FROM, WHERE and ORDER BY.
    In SQL, NULL isn't equal to NULL.
    Union rules: all members select a delegate.
    Having read the values, group them by age and limit the list to 10.
    Between 5 and 6 people like it.
    Exists there a case when it's not in the set?
    I'd like to delete my account and all data from your database.
    Please insert the card; declare the value and execute the payment.
    The wait for the delay was 10 minutes.
    Is there a user() function in your API? What does count(*) mean?
    My password doesn't work: it has a ' and a ; in it.
    What's the difference between '' and \"\"?
    1 + 1 = 2; 2 + 2 = 4
    y = mx + b
    f(x) = x^2 - 4 (x >= 0)
    50% of users & 10% of admins
    Ünïcödé tëxt wïth äccents & symbols: © ® ™ €
    Line one\nLine two: more\nLine three
    Dear Sir or Madam,\n\nI'm writing about order #123.\n\nYours,\nJ. O'Neill
    - item one\n- item two\n- item three
    * bold * and _italic_ and `code`
    [link](https://example.com) and ![image](a.png)
    > quoted text\n> more of it
    | a | b |\n|---|---|\n| 1 | 2 |
";

const SNIPPETS: &str = r#"
    for (var i = 0; i < items.length; i++) { total += items[i].price; }
    if (user && user.isActive) { login(user); } else { logout(); }
    const sum = (a, b) => a + b;
    let x = arr.filter(n => n % 2 === 0).map(n => n * n);
    function greet(name) { return "Hello, " + name + "!"; }
    async function load() { const r = await http.get('/api/items'); return r.json(); }
    class Point extends Shape { constructor(x, y) { super(); this.x = x; } }
    export default { name: 'app', data() { return { count: 0 } } }
    import React, { useState } from 'react';
    const el = <Button variant="primary" disabled={!ok}>Save</Button>;
    console.log(`total: ${total}`);
    x = y ?? z?.value;
    def fib(n): return n if n < 2 else fib(n-1) + fib(n-2)
    with open('data.csv') as f: rows = list(csv.reader(f))
    print('%s: %d' % (name, count))
    print(f"{name}: {value:.2f}")
    df = df[df['age'] > 30].groupby('city').mean()
    if __name__ == '__main__': main()
    @app.route('/items/<int:id>', methods=['GET', 'POST'])
    numbers = [x**2 for x in range(10) if x % 2 == 0]
    d = {'a': 1, 'b': [2, 3], "c": None}
    assert response.status == 200, 'request failed'
    try: value = int(text)
    except ValueError as e: print(e)
    public class Main { public static void main(String[] args) { System.out.println("Hi"); } }
    List<Integer> xs = Arrays.asList(1, 2, 3);
    Map<String, List<Integer>> m = new HashMap<>();
    for (int i : xs) sum += i;
    @Override public String toString() { return name + ":" + age; }
    var q = items.Where(i => i.Price > 10).OrderBy(i => i.Name).Select(i => i.Id);
    using System.Linq;
    public int Age { get; set; }
    Console.WriteLine($"Hello {name}");
    func add(a int, b int) int { return a + b }
    if err != nil { return err }
    ch := make(chan int, 10); go func() { ch <- 1 }()
    fmt.Printf("%d items\n", len(items))
    type User struct { Name string `json:"name"` }
    let v: Vec<u32> = (0..10).filter(|n| n % 3 == 0).collect();
    match value { Some(x) if x > 0 => x, _ => 0 }
    impl<T: Display> Show for T { fn show(&self) -> String { format!("{self}") } }
    #include <stdio.h>
    int main(int argc, char **argv) { printf("%s\n", argv[0]); return 0; }
    char *p = malloc(10 * sizeof(char)); if (!p) return -1;
    #define MAX(a, b) ((a) > (b) ? (a) : (b))
    std::vector<int> v{1, 2, 3}; for (auto &x : v) x *= 2;
    template <typename T> T max(T a, T b) { return a > b ? a : b; }
    puts "Hello #{name}" if name
    items.each { |i| puts i.price }
    <?= $title ?>
    $total = $price * $count;
    foreach ($items as $i) { $sum += $i->price; }
    .btn:hover { color: #fff; background: rgba(0, 0, 0, .5) !important; }
    @media (max-width: 600px) { .nav { display: none; } }
    a { text-decoration: none; }
    <p>Hello <b>world</b></p>
    <a href="https://example.com/a?b=c&d=e" target="_blank">link</a>
    <div class="row"><div class="col-6">left</div></div>
    <img src="/img/logo.png" alt="Logo" width="100">
    <ul><li>one</li><li>two</li></ul>
    <!-- a comment -->
    <h1 id="top">Title</h1><br/>
    <?xml version="1.0"?><note><to>Tove</to><from>Jani</from></note>
    <item sku="A-1"><price currency="EUR">9.99</price></item>
    {"a": [1, 2, {"b": null}], "c": "d"}
    key: value
    - hosts: all
    services: { web: { image: "app:1.2", ports: ["80:80"] } }
    [section] name = "value"
    git checkout -b feature/x
    docker run -p 80:80 app
    npm run build
    cargo test
    SELECT name, price FROM products WHERE price > 10 ORDER BY name
    CREATE INDEX idx_name ON users (name)
    ^[A-Z]{2}\d{4}$
    s/foo/bar/g
    (a|b)*c+
    a ? b : c
    x <- c(1, 2, 3)
    y := x * 2
    i++; j--;
    // NOTE: fix this
    /* block comment */
    # comment
    -- comment
    """docstring"""
    <T>
    => { }
    ();
    [];
    {};
    a[0]
    f(x)(y)
    obj.method().other()
    a && b || c
    !a
    a != b
    a == b
    a === b
    x |= y; x &= ~z;
    "a" + 'b'
    "it's"
    'say "hi"'
    \n
    %d
"#;
