/** Shells that completion is made for. */
export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

// All three ask the program itself with the words typed so far, the last one being the one under the cursor. It answers
// `word<TAB>description` lines; so the scripts never go stale when commands change.

const bash = `# bash completion for holdfast
_holdfast() {
  local IFS=$'\\n' program=\${COMP_WORDS[0]}
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  # bash splits at colons, which SANDBOX:/PATH has.
  local candidates
  candidates=$("$program" __complete -- "\${words[@]}" 2>/dev/null | cut -f 1) || return
  COMPREPLY=($candidates)
  [ \${#COMPREPLY[@]} -gt 0 ] || compopt -o default
}
complete -F _holdfast holdfast ./holdfast
`;

const zsh = `#compdef holdfast
# zsh completion for holdfast
_holdfast() {
  local -a candidates
  local line
  while IFS=$'\\t' read -r word description; do
    candidates+=("\${word//:/\\\\:}:\${description}")
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#candidates} )); then _describe holdfast candidates; else _files; fi
}
if [ "\${funcstack[1]}" = _holdfast ]; then _holdfast "$@"; else compdef _holdfast holdfast; fi
`;

const fish = `# fish completion for holdfast
function __holdfast_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c holdfast -f -a '(__holdfast_complete)'
complete -c holdfast -n 'test (count (__holdfast_complete)) -eq 0' -F
`;

export const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish };
