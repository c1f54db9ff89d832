#!/usr/bin/env python3
"""A GGUF model as bf16 safetensors with tokenizer and config, for vLLM.  usage: make_bf16.py MODEL.gguf FOLDER"""
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

source, target = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)).save_pretrained(target)
AutoTokenizer.from_pretrained(**where).save_pretrained(target)
