"""A run's learned word: from its settings to trainable rows."""

from __future__ import annotations

from trainers.adapters.network import Network
from trainers.adapters.tokens import Word, initial_rows, usual_length
from trainers.config.sections import Tokens
from trainers.errors import VelaturaError
from trainers.models.model import Model
from trainers.models.words import known_tokens


def learn_word(model: Model, network: Network, settings: Tokens) -> Word:
    """Add the configured word to the base, with rows that the network trains.

    Raises VelaturaError if the base knows the word, or if the initial words have no tokens.
    """
    rows, usual = {}, {}
    for part, tokenizer, encoder in zip(model.encoder_names, model.tokenizers, model.text_encoders, strict=True):
        if len(known_tokens(tokenizer, settings.word)) == 1:
            raise VelaturaError(
                "tokens.word = {word!r} is already in the vocabulary of {title}; choose a new word, such as <{bare}>",
                word=settings.word,
                title=model.title,
                bare=settings.word.strip("<>"),
            )
        tokens = known_tokens(tokenizer, settings.initial)
        if not tokens:
            raise VelaturaError(
                "tokens.initial = {initial!r} has no words; use one such as style", initial=settings.initial
            )
        table = encoder.get_input_embeddings().weight.detach()
        rows[part], usual[part] = initial_rows(table, tokens, settings.vectors), usual_length(table)
    word = Word(settings.word, rows, settings.learning_rate, settings.norm_prior, usual)
    network.add_word(word, model.words)
    return word
