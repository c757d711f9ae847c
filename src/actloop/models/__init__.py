"""Language models behind one interface.

The names that smolagents has in its module `models` can be imported from here, too; `actloop` has them all.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actloop import (
        CODEAGENT_RESPONSE_FORMAT as CODEAGENT_RESPONSE_FORMAT,
        REMOVE_PARAMETER as REMOVE_PARAMETER,
        AmazonBedrockModel as AmazonBedrockModel,
        AmazonBedrockServerModel as AmazonBedrockServerModel,
        AnthropicModel as AnthropicModel,
        ApiModel as ApiModel,
        AzureOpenAIModel as AzureOpenAIModel,
        AzureOpenAIServerModel as AzureOpenAIServerModel,
        ChatMessage as ChatMessage,
        ChatMessageStreamDelta as ChatMessageStreamDelta,
        ChatMessageToolCall as ChatMessageToolCall,
        ChatMessageToolCallFunction as ChatMessageToolCallFunction,
        ChatMessageToolCallStreamDelta as ChatMessageToolCallStreamDelta,
        FallbackModel as FallbackModel,
        InferenceClientModel as InferenceClientModel,
        LiteLLMModel as LiteLLMModel,
        LiteLLMRouterModel as LiteLLMRouterModel,
        LocalModel as LocalModel,
        MessageRole as MessageRole,
        MLXModel as MLXModel,
        Model as Model,
        OpenAIModel as OpenAIModel,
        OpenAIServerModel as OpenAIServerModel,
        ScriptedModel as ScriptedModel,
        TransformersModel as TransformersModel,
        VLLMModel as VLLMModel,
        agglomerate_stream_deltas as agglomerate_stream_deltas,
        get_clean_message_list as get_clean_message_list,
        parse_json_if_needed as parse_json_if_needed,
        tool_role_conversions as tool_role_conversions,
    )
    from actloop.models.base import (
        get_tool_call_from_text as get_tool_call_from_text,
        get_tool_json_schema as get_tool_json_schema,
        remove_content_after_stop_sequences as remove_content_after_stop_sequences,
        supports_stop_parameter as supports_stop_parameter,
    )
else:
    _FOR_MODELS = (
        "get_tool_call_from_text",
        "get_tool_json_schema",
        "remove_content_after_stop_sequences",
        "supports_stop_parameter",
    )
    """What users' own models call besides."""

    def __getattr__(name: str) -> object:
        import actloop
        from actloop.models import base

        if name in _FOR_MODELS:
            return getattr(base, name)
        if name not in actloop.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(actloop, name)
