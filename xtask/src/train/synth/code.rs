//! Legitimate program code, configuration and writing about both: what is stored in issue trackers,
//! wikis, pastes and reviews, and looks more like an attack than anything else that people send.

use jotwatch_models::payload::Form;

/// Copies of each template, their form, templates.
pub(super) const CODE: &[(usize, Form, &str)] = &[
    (
        90,
        Form::Text,
        "
        «line»
        «line»␤«line»
        «line»␤    «line»␤    «line»␤«line»
        «line»␤«line»␤␤    «line»␤        «line»␤        «line»␤    «line»␤«line»␤«line»
        /// «text» `«w»` «text».␤«line»␤    «line»␤    «line»␤    «line»␤«line»␤}
        // «text»␤    «line»␤    // «text»: «text»␤    «line»␤␤    «line»␤    «line»␤    «line»
    ",
    ),
    (
        40,
        Form::Text,
        "
        «call»;
        «call»␤«call»␤«call»
        let «w» = «call»?;
        if «cond» { «call»; }
        assert_eq!(«call», «literal»);
        «w».«method»(«literal»).unwrap();
        «w»::«method»(&«w», «literal», «call»);
        «typed»
        «html2»
        «html2»␤  «html2»␤«html2»
        «config»
        «config»␤«config»␤«config»␤«config»
        «writing»
        «writing» «text».
    ",
    ),
    (
        30,
        Form::Text,
        "
        «search»
        «search» «w»
        «w» «search»
        «search»; «w»
        «python»
        «python»␤    «python»␤    «python»
        «script»
        «script»␤  «script»␤«script»
        «braces»
        «braces»␤    «braces»␤    «braces»
        «server»
        «server»␤«server»
        «page»
        «page»␤«page»
    ",
    ),
];

/// Lists for the slots above.
pub(super) const LISTS: &[(&str, &str)] = &[
    (
        "method",
        "write ¦ write_all ¦ read ¦ fetch ¦ confirm ¦ prompt ¦ push ¦ get ¦ insert ¦ update ¦ delete ¦ select ¦ exec ¦ execute ¦ run ¦ system ¦ open ¦ load ¦ save ¦ count ¦ sleep ¦ wait ¦ find ¦ replace ¦ concat ¦ length ¦ substr ¦ version ¦ user ¦ filter ¦ map ¦ call ¦ apply ¦ throw ¦ reflect ¦ convert ¦ cast ¦ extend ¦ drop ¦ truncate ¦ union ¦ join ¦ order_by ¦ group_by ¦ limit ¦ min ¦ max ¦ char ¦ ascii ¦ hex ¦ eval ¦ spawn ¦ kill ¦ ping ¦ cat ¦ id ¦ «w» ¦ «w»_«w»",
    ),
    (
        "literal",
        "\"«w»\" ¦ '«w»' ¦ b'«w»' ¦ b\"«w»\" ¦ «n» ¦ 0x«n» ¦ &[«n», «n»] ¦ \"\" ¦ '' ¦ b'\\'' ¦ '\"' ¦ \"{«w»}: {«w»:?}\\n\" ¦ \"«w»-«w»\" ¦ \"--«w»=«w»\" ¦ \"--«w»\" ¦ \"/«w»/«w»\" ¦ \"/proc/self/«w»\" ¦ \"/var/lib/«w»\" ¦ \"/usr/lib/«w»/«w»\" ¦ \"/var/run/«w».sock\" ¦ \"/tmp/«w»\" ¦ \"../«w»\" ¦ \"https://«w».example/«w»\" ¦ \"127.0.0.1:«n»\" ¦ \"{\\\"«w»\\\":\\\"«w»\\\"}\\n\" ¦ \"[«w»]\\n«w» = \\\"«w»\\\"\\n\" ¦ None ¦ Some(\"«w»\") ¦ &«w» ¦ *«w» ¦ «w».«w» ¦ Duration::from_secs(«n»)",
    ),
    (
        "call",
        "«w».«method»(«literal») ¦ «w».«method»(«literal», «literal») ¦ self.«w».«method»(«literal», «w», «w») ¦ «W»::«method»(«literal») ¦ «w»::«w»::«method»(«w») ¦ «method»(&mut «w», «literal») ¦ «method»(«w») ¦ «w».iter().filter(|«w»| «w».«w» > «n»).count() ¦ «w».iter().map(|(«w», «w»)| (*«w» + (*«w»)?)).min() ¦ fs::«method»(«w».path().join(«literal»), «literal»).unwrap() ¦ this.«w».«method»(«w» => «w».«w») ¦ await «w».«method»({ «w»: «literal» }) ¦ $(«literal»).«method»() ¦ format!(\"{«w»}/«w»\") ¦ vec![«literal»; «n»] ¦ println!(\"«text» {}\", «w») ¦ «w»[«w»].«method»(..«n») ¦ std::«w»::«method»(«w»)(«literal»)",
    ),
    (
        "cond",
        "«w» == «literal» && «w» != «literal» ¦ «w» > «n» || «w».is_empty() ¦ «w» == b'«w»' && («w» >> «n») as u8 | 0x«n» == b'«w»' ¦ («w» & 0x«n») != 0 ¦ !«w».«method»(«literal») && («n»..=«n»).contains(&«w») ¦ «w» is not None and «w» == '«w»' ¦ «w» === '«w»' || «w» === \"«w»\" ¦ matches!(«w», '«w»' | '\"' | '\\'') ¦ let Some(«w») = «w».«method»() && «w» != «n»",
    ),
    (
        "line",
        "«call»; ¦ let «w» = «call»; ¦ let mut «w» = «call»?; ¦ const «W»: &str = «literal»; ¦ if «cond» { ¦ } else if «cond» { ¦ while «cond» { ¦     .«method»(|«w»| «w».«method»(«literal»)) ¦ && «cond» ¦ || «cond» ¦ return «call»; ¦ return «w» == «literal» || «w»; ¦ assert!(«cond», \"{«w»}\"); ¦ assert_eq!(«call», «literal»); ¦ «typed» ¦ «literal» => «call», ¦ \"«w»\" | \"«w»\" => «literal», ¦ «w»: «literal», ¦ «w» = «literal» ¦ «w» = \"«w»\", ¦ }) ¦ }); ¦ } ¦ ]; ¦ «literal», ¦ ($(«w»:expr),*) => { «call» }; ¦ $(Self::$«w» => $«w»,)+ ¦ #[cfg(test)] ¦ #[error(\"«text»: {0}\")] ¦ #[arg(long, value_name = \"«W»\")] ¦ use «w»::{«w», «w»::«W»}; ¦ import { «w», «w» } from '@«w»/«w»'; ¦ def «w»(self, «w»='«w»', *args): ¦ raise ValueError(f\"«text» {«w»!r}\") ¦ except («W»Error, KeyError) as «w»: ¦ for «w» in «w».«method»(«literal»): ¦ for (const «w» of «w».«method»()) { ¦ switch («w») { case '«w»': break; } ¦ «w» = «w» ? «literal» : «literal»; ¦ «w»++; ¦ /* «text» */ ¦ // «text»: «contraction» «text»; «text» ¦ /// «text» (`«w»`), «text». ¦ # «text» ¦ * «text» «w»()",
    ),
    (
        "typed",
        "fn «w»(&self, «w»: &str) -> Option<«W»> { ¦ fn «w»(&mut self) -> Result<Option<Frame>, Stop> { ¦ pub(super) fn «w»<T: Into<«W»>>(«w»: T) -> Vec<T> { ¦ let «w»: HashMap<String, Vec<u8>> = HashMap::new(); ¦ impl<'a> Iterator for «W»<'a> { ¦ Option<Listener> ¦ Box<dyn Fn(&«W») -> bool> ¦ List<Input> «w» = new ArrayList<>(); ¦ Map<String, Object> «w»; ¦ Promise<Form[]> ¦ type «W» = Record<string, Body>; ¦ public async Task<Style> «W»(int «w») { ¦ std::vector<Link> «w»; ¦ template <typename T, class U> ¦ Arc<Mutex<«W»>> ¦ fn «method»(&mut self, «w»: u32) {",
    ),
    (
        "html2",
        "<div class=\"«w» «w»-«n»\"><span>«text»</span></div> ¦ <a href=\"https://«w».example/«w»?«w»=«n»&«w»=«w»\" rel=\"«w»\">«text»</a> ¦ <img src=\"/«w»/«w».png\" alt=\"«text»\" width=\"«n»\"> ¦ <button type=\"submit\" class=\"«w»\" disabled>«w»</button> ¦ <input type=\"text\" name=\"«w»\" value=\"«w»\"> ¦ <«W» «w»=\"«w»\" «w»={«w»}>«text»</«W»> ¦ <section id=\"«w»\"><h3 class=\"«w»\">«text»</h3></section> ¦ <label for=\"«w»\">«text»</label> ¦ <table class=\"«w»\"><tr><th>«w»</th><td align=\"right\">«n»</td></tr></table> ¦ <form action=\"/«w»\" method=\"post\"> ¦ <link rel=\"stylesheet\" href=\"/«w».css\"> ¦ <td colspan=\"«n»\">«text»</td> ¦ <option value=\"«n»\" selected>«w»</option> ¦ <meta name=\"«w»\" content=\"«text»\"> ¦ <p class=\"«w»\">«text» <em>«w»</em></p>",
    ),
    (
        "config",
        "[[«w»]] ¦ «w» = \"«w»\" ¦ «w»_«w» = [\"«w»\", \"«w»\"] ¦ «w»_file = \"/etc/«w»/«w».conf\" ¦ «w» = \"/var/log/«w»/«w».log\" ¦ «w»_dir = \"/run/«w»\" ¦ Environment=\"«W»=«w»\" ¦ «w»: \"«w»\" ¦   - «w»: «n» ¦ location /«w» { proxy_pass http://127.0.0.1:«n»; } ¦ RUN apt-get install -y «w» ¦ «w»: ${«W»} ¦ 0 3 * * * /usr/local/bin/«w» ¦ <key>«w»</key><string>«w»</string> ¦ | `«w»` | `\"/run/«w»\"` | «text» | ¦ SELINUX=enforcing",
    ),
    (
        "writing",
        "The «w» will select «w» from the «w», and insert them into the «w». ¦ What does «w»(*) mean, and is there a «w»() «w»? ¦ He is 5'«n»\" and she is 6'«n»\". ¦ I've put the «w» file at C:\\Users\\«w»\\«w».log, «contraction» it? ¦ Use `«w» --«w»` or `«w».«method»(«literal»)` to «text». ¦ «contraction» the difference between '«w»' and \"«w»\"? ¦ Call `«method»()` before `«method»()`; «text» (see `«w»::«w»`). ¦ In SQL, «w» joins are like unions of «w» where «w» is null; «text». ¦ To drop a table's «w», update the «w» and delete from «w» what «text». ¦ Order by date or group by «w»; limit «n» «w». ¦ «text» \"«text»\" -- «name», '«n» ¦ Run «w» && «w», then «text» | «w» > «w».txt. ¦ $ «w» --«w» | «w» ¦ The path /usr/share/«w» holds «text». ¦ Edit /etc/«w»/«w».conf and restart «w». ¦ Open «W»'s '«w»' tab; it's under \"«w»\" (or '«w»').",
    ),
    (
        "keyword",
        "select ¦ union ¦ drop ¦ order by ¦ group by ¦ having ¦ where ¦ insert ¦ update ¦ delete ¦ like ¦ between ¦ null ¦ case ¦ limit ¦ create ¦ alter ¦ exec ¦ sleep ¦ count ¦ char ¦ benchmark ¦ version ¦ user ¦ database ¦ values ¦ join ¦ table ¦ time ¦ more ¦ sort ¦ find ¦ test ¦ type ¦ file ¦ cut ¦ date ¦ who ¦ script ¦ alert ¦ object ¦ style ¦ cookie ¦ document ¦ window ¦ frame",
    ),
    (
        "search",
        "«keyword» «w» («n» «w») ¦ «keyword» («w») ¦ «keyword» («n» «w») ¦ «keyword» «w», «n» «w» ¦ «w» «keyword» & «w» ¦ «keyword» & «w» «w» ¦ «w» & «keyword» ¦ «w»; «keyword» «w» ¦ «keyword» «w» -- «w» ¦ «keyword» «n» «w» ¦ «n» «keyword» «w» ¦ «keyword» \"«w»\" «w» ¦ '«n»s «keyword» «w» ¦ «name» «keyword» ¦ «keyword»'s «w» ¦ «n»=«n» «w» ¦ «n» = «w» «n» ¦ «w» = «keyword» «w» ¦ «n»\" «w» or «n»\" «w» ¦ «n»' x «n»' «keyword» ¦ «n» or «n» «keyword» ¦ «n» and «n».«n» «w» ¦ «w» «n» or «w» «n» ¦ «w» <«n» and >«n» ¦ «keyword»: the «w» «w» ¦ «keyword» | «w» | «n» ¦ $«n» «keyword» ¦ #«n» «keyword» ¦ «keyword» «keyword» «w»",
    ),
    (
        "python",
        "«w» = [«w» for «w» in «w» if «w» != '«w»'] ¦ def «w»(self, «w», «w»=None, *args, **kwargs): ¦ return '%s=%d' % («w», «n») ¦ logger.info('«w» %s: %r', «w», «w») ¦ if not «w» or «w» == '': ¦ print(f'{«w»:>«n»} {«w»}') ¦ with open(«w», 'rb') as «w»: ¦ raise «W»Error('«text»: %s' % «w») ¦ «w»['«w»'] = «w».get('«w»', «n») ¦ assert «w» == «n», '«text»' ¦ import os, «w» ¦ from «w».«w» import «w» as «w» ¦ @«w».«w»('/«w»/<int:«w»>') ¦ if __name__ == '__main__': ¦ super().__init__(«w», «w») ¦ class «W»(«w».«W»): ¦ def __init__(self, «w»): ¦ return {'«w»': «n», '«w»': [«n», «n»]} ¦ «w».«w»('«w»').«w»(lambda x: x['«w»'] > «n») ¦ time.sleep(«n») ¦ os.path.join(«w», '«w»', '«w».«w»') ¦ «w» = «w» if «w» == '«w»' or «w» > «n» else None ¦ re.sub(r'\\s+', ' ', «w») ¦ \"\"\"«text»\"\"\" ¦ while «w» < len(«w») and «w»[«w»] != '\"': ¦ «w».append((«w», '«w»')) ¦ «w» = '«w»' + «w» + \"«w»\"",
    ),
    (
        "script",
        "const { «w», «w» } = «w»; ¦ const «w» = await «w».json(); ¦ «w».forEach(«w» => «w».push(«w».«w»)); ¦ if («w» === '«w»' || «w» !== \"\") { ¦ return `${«w»}: ${«w».«w»}`; ¦ document.getElementById('«w»').«w» = «w»; ¦ «w».addEventListener('«w»', «w»); ¦ «w».innerHTML = '<li>' + «w» + '</li>'; ¦ $('.«w»').on('«w»', function () { «w»(); }); ¦ export default function «W»({ «w», «w» }) { ¦ module.exports = { «w», «w» }; ¦ const «w» = require('«w»'); ¦ setTimeout(() => «w»(«n»), «n»); ¦ throw new Error('«text»'); ¦ let «w» = «w» ? '«w»' : \"«w»\"; ¦ for (let i = 0; i < «w».length; i++) { ¦ «w» = «w» && «w».«w» || {}; ¦ console.log('«w»', «w» + \"«w»\"); ¦ «w»: { «w»: '«w»', «w»: [«n», «n»] }, ¦ <«W» «w»={«w»} onClick={() => «w»(«w»)} /> ¦ interface «W» { «w»: string; «w»?: number } ¦ window.«w» = window.«w» || []; ¦ var «w» = «w».«w»('«w»=' + «w»); ¦ try { JSON.parse(«w») } catch («w») { «w» = null } ¦ «w».then(«w» => «w».text()).catch(console.error);",
    ),
    (
        "braces",
        "if («w» != null && !«w».isEmpty() || «w» == '«w»') { ¦ char «w»[«n»]; ¦ printf(\"%s: %d\\n\", «w», «n»); ¦ #include \"«w»/«w».h\" ¦ #if defined(«W») && !defined(«W») ¦ for (int i = 0; i < «n»; ++i) «w»[i] = '\\0'; ¦ switch («w») { case 'a': return «n»; case '\"': break; } ¦ public String «w»() { return «w» + \"'\" + «w» + \"'\"; } ¦ private final Map<String, List<«W»>> «w» = new HashMap<>(); ¦ throw new «W»Exception(\"«text» \" + «w»); ¦ func («w» *«W») «w»(«w» string) error { ¦ if err := «w».«w»(«w»); err != nil { ¦ fmt.Sprintf(\"%s=%v\", «w», «w») ¦ var «w» = «w».Where(x => x.«W» > «n»).Select(x => x.«W»); ¦ public int «W» { get; set; } = «n»; ¦ $«w» = $«w»['«w»'] ?? '«w»'; ¦ foreach ($«w» as $«w» => $«w») { ¦ echo '«w»: ' . $«w»->«w» . \"\\n\"; ¦ <?= $«w» ?> ¦ «w».each { |«w»| puts \"#{«w»}: #{«w»}\" } ¦ return «w» ? '«w»' : «w» || '«w»'; ¦ std::string «w» = \"«w»\" + «w»; ¦ while (*«w» == ' ' || *«w» == '\\t') «w»++; ¦ assert(«w» != NULL && \"«text»\"); ¦ x = («w» & 0x«n») | («w» << «n»); ¦ Thread.sleep(«n»);",
    ),
    (
        "server",
        "#!/usr/bin/env «w» ¦ for «w» in *.«w»; do «w» \"$«w»\"; done ¦ if [ -n \"$«w»\" ] && [ -f \"$«w»\" ]; then ¦ export «W»=\"$HOME/«w»:$PATH\" ¦ «w»=${«W»:-«w»} ¦ while read -r «w»; do «w»; done < «w».txt ¦ server { listen «n»; server_name «w».com; } ¦ RewriteRule ^«w»/(.*)$ /«w».php?«w»=$1 [L] ¦ image: ${«W»}/«w»:${«W»:-latest} ¦ run: «w» install && «w» run «w» ¦ CMD [\"«w»\", \"«w».js\"] ¦ <«w»Id>«w»</«w»Id> ¦ {\"«w»\": {\"«w»\": [\"«w» --«w»\"]}, \"«w»\": true} ¦ \"scripts\": {\"test\": \"«w» --«w» && «w» .\"} ¦ Error: «text», «w» '/tmp/«w».«w»' ¦ Traceback (most recent call last): File \"«w».py\", line «n», in «w» ¦ «W»Exception: «text» at «w».«W».«w»(«W».java:«n») ¦ «w»: command not found ¦ fatal: «text» (or any of the parent «w»): .«w» ¦ «w» [«n»]: user '«w»' logged in from «n».«n».«n».«n»",
    ),
    (
        "page",
        "<p class='«w»'>«text»</p> ¦ <li><a href='/«w»/«w»'>«w»</a></li> ¦ <!-- «w» --> ¦ <br> ¦ </div> ¦ <td>{{ «w».«w» }}</td> ¦ {% for «w» in «w» %}<li>{{ «w» }}</li>{% endfor %} ¦ {{ «w» | «w»:'«w»' }} ¦ <%= «w».«w» %> ¦ <input name='«w»' type='text' placeholder='«text»'> ¦ <h1>«text»</h1><hr> ¦ <a href='https://www.«w».com/«w»?«w»=«n»&«w»=«w»#«w»' target='_blank'>«w»</a> ¦ <a href='#«w»'>«W»</a> | <a href='/'>«W»</a> ¦ .«w» > .«w»:hover { margin: 0 auto; } ¦ @media (min-width: «n»px) { ¦ <label>«w» <select name='«w»'><option value='«n»'>«w»</option></select></label> ¦ the `<«w»>` element and `<«w» «w»>` «text» ¦ «text» <em>«w»</em> &amp; <strong>«w»</strong> ¦ <html lang='en'><head><title>«text»</title></head><body> ¦ <img alt='«w»' src='/«w»/«w».jpg' width='«n»'>",
    ),
];
