"""Chat templates: the fixed text read off a template is what the template itself renders.

The templates are those of published releases, cut to their text branches.
"""

from __future__ import annotations

import pytest
from miniatures import build_miniature

from reason_iad.inspection.prompts import clean
from reason_iad.models.chat import chat_template
from reason_iad.models.families import CUE, FAMILIES

QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}"
    "<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = QWEN.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
SWITCHED = QWEN.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
LLAVA_USER_ONLY = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ message['role'].upper() }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}"
    "{%- set first = messages[0]['content'][0]['text'] + '\n\n' -%}{%- set rest = messages[1:] -%}"
    "{%- else -%}{%- set first = '' -%}{%- set rest = messages -%}{%- endif -%}"
    "{%- for message in rest -%}{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}"
    "{%- for item in message['content'] -%}{%- if item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}"
    "{%- endfor -%}{{ '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
PUBLISHED = {
    "qwen2_vl": QWEN, "qwen2_5_vl": QWEN, "qwen3_vl": QWEN,
    "qwen3_vl_moe": QWEN, "internvl": QWEN, "llava_onevision": QWEN,
    "idefics3": IDEFICS, "smolvlm": IDEFICS, "gemma3": GEMMA,
}  # fmt: skip


@pytest.fixture(scope="module")
def models():
    return {name: build_miniature(name) for name in FAMILIES}


@pytest.mark.parametrize("family", PUBLISHED)
def test_the_row_says_what_the_published_template_says(family, models) -> None:
    assert chat_template(models[family].tokenizer, FAMILIES[family], PUBLISHED[family]) == FAMILIES[family].template


@pytest.mark.parametrize("family", PUBLISHED)
def test_the_fixed_texts_around_what_is_said_are_the_rendered_conversation(family, models) -> None:
    tokenizer = models[family].tokenizer
    found = chat_template(tokenizer, FAMILIES[family], PUBLISHED[family])
    said = [("system", "You inspect."), ("user", "Is it good?")]
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]
    rendered = tokenizer.apply_chat_template(
        messages, chat_template=PUBLISHED[family], tokenize=False, add_generation_prompt=True
    )
    ours = f"{found.before_system}You inspect.{found.before_user}Is it good?{found.before_answer}"
    assert ours == rendered


@pytest.mark.parametrize("template", [THINKING, SWITCHED], ids=["always", "switch"])
def test_thinking_is_turned_off(template, models) -> None:
    found = chat_template(models["qwen3_vl"].tokenizer, FAMILIES["qwen3_vl"], template)
    assert found.before_answer == "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert found.cue == CUE


def test_a_first_token_that_the_tokenizer_would_add_stands_in_front(models, monkeypatch) -> None:
    tokenizer = models["llava"].tokenizer
    assert chat_template(tokenizer, FAMILIES["llava"], LLAVA).before_system == ""
    encode = type(tokenizer).encode
    monkeypatch.setattr(
        type(tokenizer), "encode", lambda self, t, add_special_tokens=True: [1] if not t else encode(self, t)
    )
    found = chat_template(tokenizer, FAMILIES["llava"], LLAVA)
    assert found.before_system == "<s>"
    assert found.before_user == " USER: "
    assert found.before_answer == " ASSISTANT:"


def test_a_template_without_a_systems_turn_puts_its_words_into_the_users(models) -> None:
    found = chat_template(models["llava"].tokenizer, FAMILIES["llava"], LLAVA_USER_ONLY)
    assert found.before_system == "USER: "
    assert found.before_user == "\n"
    assert found.end == "</s>"


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{% for", "no place for anyone's words"])
def test_a_template_that_cannot_be_read_leaves_the_row(template, models) -> None:
    assert chat_template(models["qwen2_5_vl"].tokenizer, FAMILIES["qwen2_5_vl"], template) == (
        FAMILIES["qwen2_5_vl"].template
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_no_special_token_of_any_family_gets_through_from_foreign_text(family, models) -> None:
    tokenizer = models[family].tokenizer
    special = {token.content for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    leaked = sorted(token for token in special if clean(f"a {token} b") != "a b")
    assert leaked == []
