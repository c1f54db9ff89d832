#!/usr/bin/env python3
"""Streams a chat answer through the OpenAI SDK (pip install openai). usage: openai_client.py [BASE_URL] [QUESTION]"""
import sys

from openai import OpenAI

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"
question = sys.argv[2] if len(sys.argv) > 2 else "What is the capital of France?"
client = OpenAI(base_url=base_url, api_key="none")
model = client.models.list().data[0].id
stream = client.chat.completions.create(model=model, stream=True, max_tokens=200, temperature=0.2,
                                        messages=[{"role": "user", "content": question}])
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
