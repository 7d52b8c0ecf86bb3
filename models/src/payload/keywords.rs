//! Words that mean something to an interpreter, and what they mean there.

/// What a word can be; a word is often several things.
pub(super) mod cat {
    pub(in crate::payload) const SQL: u16 = 1;
    /// A function of some SQL dialect.
    pub(in crate::payload) const SQL_FN: u16 = 1 << 1;
    /// A table, view or package that holds a database's own data.
    pub(in crate::payload) const SQL_SYS: u16 = 1 << 2;
    /// A shell command.
    pub(in crate::payload) const CMD: u16 = 1 << 3;
    /// A shell command that is no everyday word.
    pub(in crate::payload) const CMD_SURE: u16 = 1 << 4;
    pub(in crate::payload) const TAG: u16 = 1 << 5;
    /// An element that loads or runs something.
    pub(in crate::payload) const TAG_ACTIVE: u16 = 1 << 6;
    /// A script function that runs or shows something.
    pub(in crate::payload) const JS_CALL: u16 = 1 << 7;
    /// An object or property that scripts steal from or write to.
    pub(in crate::payload) const DOM: u16 = 1 << 8;
    /// A file or directory name that is of interest on its own.
    pub(in crate::payload) const FILE: u16 = 1 << 9;
    /// A scheme that a server should not be made to follow.
    pub(in crate::payload) const SCHEME: u16 = 1 << 10;
    /// A class, attribute or function that template and expression injection reaches for.
    pub(in crate::payload) const REFLECT: u16 = 1 << 11;
    /// A function of PHP or Python that runs code or commands.
    pub(in crate::payload) const CODE_FN: u16 = 1 << 12;
    /// A data manipulation or definition verb that may follow a semicolon.
    pub(in crate::payload) const SQL_VERB: u16 = 1 << 13;
}

/// First of the token kinds that keywords have; below are punctuation and word shapes.
pub(super) const FIRST_KIND: u8 = 160;

/// Kinds that detectors name. Words without one of their own share the last of their group.
pub(super) mod kind {
    use super::FIRST_KIND as K;
    pub(in crate::payload) const SELECT: u8 = K;
    pub(in crate::payload) const UNION: u8 = K + 1;
    pub(in crate::payload) const ALL: u8 = K + 2;
    pub(in crate::payload) const FROM: u8 = K + 3;
    pub(in crate::payload) const WHERE: u8 = K + 4;
    pub(in crate::payload) const OR: u8 = K + 5;
    pub(in crate::payload) const AND: u8 = K + 6;
    pub(in crate::payload) const NOT: u8 = K + 7;
    pub(in crate::payload) const LIKE: u8 = K + 8;
    pub(in crate::payload) const IN: u8 = K + 9;
    pub(in crate::payload) const IS: u8 = K + 10;
    pub(in crate::payload) const NULL: u8 = K + 11;
    pub(in crate::payload) const BETWEEN: u8 = K + 12;
    pub(in crate::payload) const HAVING: u8 = K + 13;
    pub(in crate::payload) const ORDER: u8 = K + 14;
    pub(in crate::payload) const GROUP: u8 = K + 15;
    pub(in crate::payload) const BY: u8 = K + 16;
    pub(in crate::payload) const LIMIT: u8 = K + 17;
    pub(in crate::payload) const INTO: u8 = K + 18;
    pub(in crate::payload) const VALUES: u8 = K + 19;
    pub(in crate::payload) const SET: u8 = K + 20;
    pub(in crate::payload) const VERB: u8 = K + 21;
    pub(in crate::payload) const TABLE: u8 = K + 22;
    pub(in crate::payload) const EXEC: u8 = K + 23;
    pub(in crate::payload) const WAITFOR: u8 = K + 24;
    pub(in crate::payload) const DELAY: u8 = K + 25;
    pub(in crate::payload) const CASE: u8 = K + 26;
    pub(in crate::payload) const WHEN: u8 = K + 27;
    pub(in crate::payload) const AS: u8 = K + 28;
    pub(in crate::payload) const IF: u8 = K + 29;
    pub(in crate::payload) const OUTFILE: u8 = K + 30;
    pub(in crate::payload) const SQL_WORD: u8 = K + 31;
    pub(in crate::payload) const SQL_FN: u8 = K + 32;
    pub(in crate::payload) const SQL_SYS: u8 = K + 33;
    pub(in crate::payload) const SCRIPT: u8 = K + 34;
    pub(in crate::payload) const JAVASCRIPT: u8 = K + 35;
    pub(in crate::payload) const TAG_ACTIVE: u8 = K + 36;
    pub(in crate::payload) const TAG: u8 = K + 37;
    pub(in crate::payload) const JS_CALL: u8 = K + 38;
    pub(in crate::payload) const DOM: u8 = K + 39;
    pub(in crate::payload) const EXPRESSION: u8 = K + 40;
    pub(in crate::payload) const SRC: u8 = K + 41;
    pub(in crate::payload) const CMD_SURE: u8 = K + 42;
    pub(in crate::payload) const CMD: u8 = K + 43;
    pub(in crate::payload) const BIN: u8 = K + 44;
    pub(in crate::payload) const ETC: u8 = K + 45;
    pub(in crate::payload) const FILE: u8 = K + 46;
    pub(in crate::payload) const SCHEME: u8 = K + 47;
    pub(in crate::payload) const HTTP: u8 = K + 48;
    pub(in crate::payload) const LOCALHOST: u8 = K + 49;
    pub(in crate::payload) const REFLECT: u8 = K + 50;
    pub(in crate::payload) const JNDI: u8 = K + 51;
    pub(in crate::payload) const LOOKUP: u8 = K + 52;
    pub(in crate::payload) const CODE_FN: u8 = K + 53;
    pub(in crate::payload) const PHP: u8 = K + 54;
    pub(in crate::payload) const DOCTYPE: u8 = K + 55;
    pub(in crate::payload) const ENTITY: u8 = K + 56;
    pub(in crate::payload) const SYSTEM: u8 = K + 57;
    pub(in crate::payload) const XML: u8 = K + 58;
    pub(in crate::payload) const XINCLUDE: u8 = K + 59;
    pub(in crate::payload) const CDATA: u8 = K + 60;
    pub(in crate::payload) const SSI: u8 = K + 61;
    pub(in crate::payload) const MONGO: u8 = K + 62;
    pub(in crate::payload) const LDAP_ATTR: u8 = K + 63;
    pub(in crate::payload) const XPATH: u8 = K + 64;
    pub(in crate::payload) const HEADER: u8 = K + 65;
    pub(in crate::payload) const IFS: u8 = K + 66;
    pub(in crate::payload) const DATA: u8 = K + 67;
    pub(in crate::payload) const TEXT: u8 = K + 68;
    pub(in crate::payload) const HTML: u8 = K + 69;
}

/// Kind, categories and the words that have them, separated by spaces.
pub(super) type Group = (u8, u16, &'static str);

/// The words. One that stands in several groups has the categories of all of them and the kind
/// of the first.
pub(super) const GROUPS: &[Group] = {
    use cat as c;
    use kind as k;
    &[
        (k::SELECT, c::SQL | c::SQL_VERB | c::TAG, "select"),
        (k::UNION, c::SQL, "union intersect except"),
        (k::ALL, c::SQL, "all distinct distinctrow"),
        (k::FROM, c::SQL, "from"),
        (k::WHERE, c::SQL, "where"),
        (k::OR, c::SQL, "or xor"),
        (k::AND, c::SQL, "and"),
        (k::NOT, c::SQL, "not"),
        (k::LIKE, c::SQL, "like rlike ilike regexp similar sounds"),
        (k::IN, c::SQL, "in any exists"),
        (k::IS, c::SQL, "is"),
        (k::NULL, c::SQL, "null true false"),
        (k::BETWEEN, c::SQL, "between"),
        (k::HAVING, c::SQL, "having"),
        (k::ORDER, c::SQL, "order"),
        (k::GROUP, c::SQL, "group"),
        (k::BY, c::SQL, "by"),
        (k::LIMIT, c::SQL, "limit offset fetch procedure top"),
        (k::INTO, c::SQL, "into"),
        (k::VALUES, c::SQL, "values"),
        (k::SET, c::SQL | c::CMD, "set"),
        (
            k::VERB,
            c::SQL | c::SQL_VERB,
            "insert update delete drop alter create truncate shutdown \
            grant revoke replace merge rename call begin commit rollback handler copy",
        ),
        (k::TABLE, c::SQL | c::TAG, "table"),
        (k::TABLE, c::SQL, "database schema column index view trigger user role tables databases"),
        (k::EXEC, c::SQL | c::SQL_VERB | c::CODE_FN, "exec execute"),
        (
            k::EXEC,
            c::SQL | c::SQL_VERB,
            "declare xp_cmdshell sp_executesql xp_regread xp_dirtree \
            sp_password xp_fileexist xp_subdirs sp_makewebtask xp_availablemedia sp_configure",
        ),
        (k::WAITFOR, c::SQL | c::SQL_VERB, "waitfor"),
        (k::DELAY, c::SQL, "delay"),
        (k::CASE, c::SQL, "case"),
        (k::WHEN, c::SQL, "when then"),
        (k::AS, c::SQL, "as"),
        (k::IF, c::SQL | c::SQL_VERB, "if"),
        (
            k::OUTFILE,
            c::SQL,
            "outfile dumpfile load_file infile openrowset opendatasource openquery",
        ),
        (
            k::SQL_WORD,
            c::SQL,
            "join inner outer left right cross natural on using else end desc \
            asc div mod collate escape constraint primary foreign key default boolean mode against \
            binary varchar nvarchar varchar2 int integer signed unsigned numeric decimal bigint text \
            for xml path isnull notnull rownum rownumber returning percent nocheck add",
        ),
        (
            k::SQL_FN,
            c::SQL_FN,
            "sleep benchmark pg_sleep concat concat_ws group_concat char chr \
            ascii substring substr mid cast convert count version database user current_user \
            session_user system_user user_name db_name hex unhex md5 sha1 load_extension ifnull \
            nvl coalesce nullif length len extractvalue updatexml xmltype floor rand exp elt \
            make_set randomblob zeroblob iif instr locate position ord strcmp greatest least \
            row_count current_database to_char to_number string_agg stuff quotename upper lower \
            reverse repeat lpad rpad last_insert_id found_rows regexp_substring regexp_like \
            crypt_key is_srvrolemember is_member host_name suser_sname object_id schema_name \
            col_length typeof quote total_changes dblink_connect lo_import query_to_xml \
            generate_series json_keys geometrycollection polygon multipoint linestring \
            bin oct name_const gtid_subset procedure_analyse analyse max min sum avg now",
        ),
        (
            k::SQL_SYS,
            c::SQL_SYS,
            "information_schema sysobjects syscolumns sysusers sysdatabases master dual \
            pg_catalog pg_user pg_database pg_shadow pg_tables \
            pg_stat_activity sqlite_master sqlite_version sqlite_schema \
            msysaccessobjects msysobjects all_tables user_tables all_users \
            dba_users banner domain sysibm sysmaster systables utl_http \
            utl_inaddr dbms_pipe dbms_lock dbms_utility dbms_xmlgen ctxsys \
            utl_file dbms_ldap httpuritype table_name column_name table_schema \
            schemata columns mysql performance_schema xp_cmdshell dbms_java \
            dbms_export_extension sqlid_to_sqlhash drithsx all_tab_columns",
        ),
        (k::SCRIPT, c::TAG | c::TAG_ACTIVE, "script"),
        (k::JAVASCRIPT, 0, "javascript vbscript livescript jscript"),
        (
            k::TAG_ACTIVE,
            c::TAG | c::TAG_ACTIVE,
            "iframe object embed applet svg math base meta link frame frameset ilayer \
            layer bgsound xss marquee isindex keygen animate animatetransform \
            animatemotion foreignobject handler listener vmlframe xml noscript \
            template portal dialog details slot",
        ),
        (
            k::TAG,
            c::TAG,
            "a abbr acronym address area article aside audio b bdi bdo big blink \
            blockquote body br button canvas caption center cite code col colgroup content data \
            datalist dd del dfn dir div dl dt element em fieldset figcaption figure font footer \
            form h1 h2 h3 h4 h5 h6 head header hgroup hr html i image img input ins kbd label \
            legend li main map mark menu menuitem meter multicol nav nextid nobr noembed noframes \
            ol optgroup option output p param picture plaintext pre progress q rb rp rt rtc ruby s \
            samp section shadow small source spacer span strike strong style sub summary sup tbody \
            td textarea tfoot th thead time title tr track tt u ul var video wbr set",
        ),
        (
            k::JS_CALL,
            c::JS_CALL,
            "alert prompt confirm eval settimeout setinterval fromcharcode \
            execscript msgbox unescape decodeuricomponent atob btoa importscripts fetch \
            xmlhttprequest sendbeacon queryselector getelementbyid getelementsbytagname \
            createelement appendchild insertadjacenthtml postmessage reflect \
            addeventlistener throw write writeln",
        ),
        (
            k::DOM,
            c::DOM,
            "document cookie window location innerhtml outerhtml localstorage \
            sessionstorage domain self parent top opener frames onerror tostring srcdoc valueof \
            navigator constructor prototype __proto__ globalthis",
        ),
        (k::EXPRESSION, 0, "expression behavior behaviour binding"),
        (
            k::SRC,
            0,
            "src href action formaction data xlink poster background lowsrc dynsrc codebase",
        ),
        (
            k::CMD_SURE,
            c::CMD | c::CMD_SURE,
            "whoami ifconfig ipconfig netstat uname nslookup wget \
            curl powershell pwsh bash zsh ksh csh tcsh ncat netcat nc chmod chown systeminfo \
            tasklist taskkill ping tracert traceroute dig regsvr32 certutil bitsadmin wmic cmd \
            mshta rundll32 cscript wscript schtasks crontab useradd adduser passwd sudo xxd \
            telnet tftp ls ps nmap socat openssl phpinfo lsof dmesg netsh bcdedit attrib icacls lscpu printenv base64 \
            hostname vssadmin reg msiexec pwd sc rm mkdir mknod mkfifo busybox awk gawk ssh scp \
            rsync perl ruby python python2 python3 php lua node gcc sleep cat id echo sh tail \
            grep sed xargs tee touch cp mv tar gzip unzip nohup setenv getent arp route",
        ),
        (
            k::CMD,
            c::CMD,
            "dir type net ver more less head find sort date time w who users last env \
            export eval exec source host mail kill top df du free mount test \
            copy move del erase start stop echo true false copy which whereis \
            file stat cut tr uniq diff md5sum history alias cd ftp finger dd \
            su man iex",
        ),
        (k::BIN, c::FILE, "bin sbin system32 syswow64"),
        (k::ETC, c::FILE, "etc"),
        (
            k::FILE,
            c::FILE,
            "passwd shadow hosts group issue self environ cmdline htaccess htpasswd \
            authorized_keys id_rsa id_dsa known_hosts winnt bash_history \
            sudoers resolv fstab crontab access_log error_log sam ntuser ssh \
            git svn env autoexec windows inetpub apache apache2 httpd proftpd \
            vsftpd mysqld xampp wamp logs pagefile repair motd inputrc profile \
            bashrc security conf",
        ),
        (
            k::SCHEME,
            c::SCHEME,
            "gopher dict file ldap ldaps rmi dns iiop corba nis nds jar netdoc phar expect \
            php zip glob ogg zlib tftp sftp ssh2 compress filter rmis feed \
            mhtml mocha wyciwyg",
        ),
        (k::HTTP, 0, "http https ftp ws wss"),
        (
            k::LOCALHOST,
            0,
            "localhost metadata localtest nip xip sslip lvh interact burpcollaborator \
            oastify oast interactsh dnslog requestbin",
        ),
        (
            k::REFLECT,
            c::REFLECT,
            "__class__ __mro__ __subclasses__ __globals__ __builtins__ __import__ __init__ \
            __base__ __bases__ __getitem__ __dict__ __code__ __reduce__ \
            getclass forname getruntime runtime processbuilder newinstance \
            getmethod scriptenginemanager getenginebyname classloader \
            servletcontext _tpl templateengine freemarker execute lipsum \
            cycler joiner get_flashed_messages url_for config request self \
            application session settings mro subclasses classes popen \
            subprocess builtins memberaccess ognlcontext objectconstructor \
            registerundefinedfiltercallback getfilter urlclassloader \
            defaultpackage tostring invoke mainmodule child_process process \
            require multipart",
        ),
        (k::JNDI, 0, "jndi"),
        (k::LOOKUP, 0, "lower upper env sys java ctx main date hostname log4j bundle k8s docker"),
        (
            k::CODE_FN,
            c::CODE_FN,
            "system passthru shell_exec popen proc_open pcntl_exec assert \
            create_function call_user_func call_user_func_array include require include_once \
            require_once file_get_contents fopen readfile highlight_file show_source phpinfo \
            base64_decode preg_replace eval execfile compile putenv array_map file_put_contents \
            move_uploaded_file getattr setattr execv execvp spawn execsync spawnsync marshal \
            backtick syscall loadlibrary print_r var_dump die fputs fsockopen",
        ),
        (k::PHP, 0, "php asp"),
        (k::DOCTYPE, 0, "doctype"),
        (k::ENTITY, 0, "entity element attlist notation"),
        (k::SYSTEM, 0, "public"),
        (k::XML, 0, "xsl stylesheet xmlns version encoding"),
        (k::XINCLUDE, 0, "xinclude xi include"),
        (k::CDATA, 0, "cdata"),
        (k::SSI, 0, "exec echo include printenv config fsize flastmod"),
        (k::MONGO, 0, "ne gt gte lt lte nin regex where exists eq elemmatch func expr function"),
        (
            k::LDAP_ATTR,
            0,
            "objectclass cn uid userpassword mail sn objectcategory samaccountname \
            givenname dc ou",
        ),
        (
            k::XPATH,
            0,
            "ancestor descendant following preceding child parent attribute comment \
            contains node text name",
        ),
        (k::HEADER, 0, "location cookie forwarded"),
        (k::IFS, 0, "ifs path home shell pwd"),
        (k::DATA, 0, "data"),
        (k::TEXT, 0, "charset image application multipart"),
        (k::HTML, 0, "xhtml"),
    ]
};

/// Starts of event handler attributes' names behind `on` (HTML, section 8.1.8.2, and what
/// browsers have besides).
pub(super) const HANDLERS: &[&str] = &[
    "abort",
    "activate",
    "after",
    "animation",
    "aria",
    "auxclick",
    "before",
    "begin",
    "blur",
    "bounce",
    "canplay",
    "cell",
    "change",
    "click",
    "close",
    "contextmenu",
    "copy",
    "cue",
    "cut",
    "dblclick",
    "deactivate",
    "drag",
    "drop",
    "duration",
    "emptied",
    "end",
    "error",
    "filter",
    "finish",
    "focus",
    "form",
    "full",
    "got",
    "hash",
    "help",
    "input",
    "invalid",
    "key",
    "language",
    "layout",
    "load",
    "lose",
    "lost",
    "media",
    "message",
    "mouse",
    "move",
    "offline",
    "online",
    "outofsync",
    "page",
    "paste",
    "pause",
    "play",
    "point",
    "pop",
    "progress",
    "property",
    "rate",
    "ready",
    "repeat",
    "reset",
    "resize",
    "resume",
    "reverse",
    "row",
    "scroll",
    "search",
    "seek",
    "select",
    "show",
    "stalled",
    "start",
    "stop",
    "storage",
    "submit",
    "suspend",
    "sync",
    "time",
    "toggle",
    "touch",
    "track",
    "transition",
    "unhandled",
    "unload",
    "url",
    "volume",
    "waiting",
    "webkit",
    "wheel",
];
