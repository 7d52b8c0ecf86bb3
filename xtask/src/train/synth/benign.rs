//! Templates of legitimate values. `«slot»`s are filled, `␤` is a line end.

use jotwatch_models::payload::Form;

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
