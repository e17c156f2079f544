"""Programs that bench/serve.py holds `denizen serve` against: what people put around the same model.

    python bench/rival_servers.py sentence-transformers PORT
    python bench/rival_servers.py llama.cpp PORT

The first is FastAPI around sentence-transformers, a request in a thread; the second llama.cpp's server on the same
weights as a GGUF file of 32-bit floats, which is written beside the benches' runs first.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from denizen.retrievers.loading import load_encoder, locate
from measuring import RUNS

MODEL = "all-MiniLM-L6-v2"
HOST = "127.0.0.1"
# as many texts as clients send at a time in the bench
_SLOTS = 64
_MEAN_POOLING = 1


def serve_sentence_transformers(port: int) -> None:
    """`SentenceTransformer.encode` behind `/v1/embeddings`."""
    import uvicorn
    from fastapi import FastAPI

    model, app = load_encoder(locate(MODEL)), FastAPI()

    @app.post("/v1/embeddings")
    def embeddings(body: dict[str, Any]) -> dict[str, Any]:
        given = body["input"]
        found = model.encode([given] if isinstance(given, str) else given, show_progress_bar=False)
        return {"data": [{"index": at, "embedding": of.tolist()} for at, of in enumerate(found)]}

    uvicorn.run(app, host=HOST, port=port, log_level="error")


def serve_llama(port: int) -> None:
    """llama.cpp's server."""
    import torch
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(as_gguf(RUNS / "serve" / f"{MODEL}.gguf"))
    params.hostnames, params.port = [HOST], port
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_parallel, params.n_ctx = _SLOTS, _SLOTS * 256
    params.n_batch = params.n_ubatch = 2048
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
    params.verbosity = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


def as_gguf(path: Path) -> Path:
    """A BERT bi-encoder as a GGUF file, with its own 32-bit floats."""
    import gguf

    folder = locate(MODEL)
    model = load_encoder(folder)
    bert, tokenizer = model[0].auto_model, model.tokenizer
    config = bert.config
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    words = [word for word, _ in sorted(tokenizer.get_vocab().items(), key=lambda of: of[1])]
    special = set(tokenizer.all_special_tokens)
    writer.add_token_list([word if word in special else _word_piece(word) for word in words])
    kinds = (gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL for word in words)
    writer.add_token_types(list(kinds))
    writer.add_token_type_count(config.type_vocab_size)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_sep_token_id(tokenizer.sep_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_mask_token_id(tokenizer.mask_token_id)
    writer.add_bos_token_id(tokenizer.cls_token_id)
    writer.add_eos_token_id(tokenizer.sep_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config.num_hidden_layers)
    for name, weights in bert.state_dict().items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is not None:
            writer.add_tensor(known, weights.float().numpy().astype(np.float32))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _word_piece(word: str) -> str:
    """As llama.cpp writes it: what begins a word is marked, and not what goes on."""
    return word.removeprefix("##") if word.startswith("##") else f"\u2581{word}"


SERVERS = {"sentence-transformers": serve_sentence_transformers, "llama.cpp": serve_llama}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]))
