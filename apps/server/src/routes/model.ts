import { gatewayRoutes } from '@holdfast/contract';
import type { DoorName, Gateway } from '@holdfast/gateway';
import { type Bound, bindRaw } from '../http/bind.ts';

/** Calls of models: the gateway reads and answers in the format of each door. */
export const bindModels = (gateway: Gateway) => {
  const door = (name: DoorName): Bound => bindRaw(gatewayRoutes[name], (exchange) => gateway.handle(name, exchange));
  return {
    chatCompletions: door('chatCompletions'),
    responses: door('responses'),
    embeddings: door('embeddings'),
    imageGenerations: door('imageGenerations'),
    imageEdits: door('imageEdits'),
    imageVariations: door('imageVariations'),
    audioSpeech: door('audioSpeech'),
    audioTranscriptions: door('audioTranscriptions'),
    audioTranslations: door('audioTranslations'),
    messages: door('messages'),
    countTokens: door('countTokens'),
    geminiGenerate: door('geminiGenerate'),
    geminiStream: door('geminiStream'),
    geminiEmbed: door('geminiEmbed'),
    geminiBatchEmbed: door('geminiBatchEmbed'),
    geminiGenerateV1: door('geminiGenerateV1'),
    geminiStreamV1: door('geminiStreamV1'),
    geminiEmbedV1: door('geminiEmbedV1'),
    geminiBatchEmbedV1: door('geminiBatchEmbedV1'),
    listModels: bindRaw(gatewayRoutes.listModels, (exchange) => gateway.listModels(exchange)),
  };
};
