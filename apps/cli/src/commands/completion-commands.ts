import { Argument, type Command } from 'commander';
import { addCommand } from '../command.ts';
import { shells } from '../completion/scripts.ts';

/** `completion`, and the hidden command that the scripts it prints call. */
export const addCompletionCommands = (program: Command): void => {
  const command = addCommand<object>(program, {
    usage: 'completion',
    summary: 'Print the completion script of a shell.',
    examples: [
      ['completion bash > ~/.local/share/bash-completion/completions/holdfast', 'for bash'],
      ['completion zsh > ~/.zfunc/_holdfast', 'for zsh, with ~/.zfunc in fpath'],
      ['completion fish > ~/.config/fish/completions/holdfast.fish', 'for fish'],
    ],
    load: async () => (await import('./completion.ts')).printScript,
  });
  command.addArgument(new Argument('<shell>', 'the shell').choices(shells));
  addCommand<object>(program, {
    usage: '__complete [words...]',
    summary: 'Print the words that may come next.',
    examples: [],
    hidden: true,
    load: async () => (await import('./completion.ts')).printCandidates(program),
  });
};
