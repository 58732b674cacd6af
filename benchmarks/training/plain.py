"""A plain loop of diffusers, PEFT and accelerate, as the training script of diffusers does it; no previews.

python -m benchmarks.training.plain BASE IMAGES OUT STEPS BATCH RANK RATE
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F


class Pictures(torch.utils.data.Dataset[dict[str, Any]]):
    """Each picture at the network's size, and the tokens of the caption beside it."""

    def __init__(self, folder: Path, tokenizer: Any, side: int) -> None:
        from torchvision import transforms

        kinds = (".png", ".jpg", ".webp")
        self.paths = sorted(path for path in folder.iterdir() if path.suffix in kinds)
        captions = [path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in self.paths]
        self.ids = tokenizer(
            captions, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        ).input_ids
        self.change = transforms.Compose(
            [
                transforms.Resize(side),
                transforms.CenterCrop(side),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        from PIL import Image

        with Image.open(self.paths[index]) as picture:
            return {"pixels": self.change(picture.convert("RGB")), "ids": self.ids[index]}


def main(base: str, images: str, out: str, steps: str, batch: str, rank: str, rate: str) -> None:
    """Train a LoRA on the attention layers of the UNet, and print the time of each step and of the file."""
    from accelerate import Accelerator
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict
    from transformers import CLIPTextModel, CLIPTokenizer

    accelerator = Accelerator(cpu=True)
    scheduler: Any = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
    tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
    text: Any = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", dtype=torch.float32).requires_grad_(False)
    vae: Any = AutoencoderKL.from_pretrained(base, subfolder="vae", torch_dtype=torch.float32).requires_grad_(False)
    unet: Any = UNet2DConditionModel.from_pretrained(base, subfolder="unet", torch_dtype=torch.float32).requires_grad_(
        False
    )
    layers = ["to_k", "to_q", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=int(rank), lora_alpha=int(rank), init_lora_weights="gaussian", target_modules=layers))
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=float(rate))
    pictures = Pictures(
        Path(images), tokenizer, unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
    )
    loader = torch.utils.data.DataLoader(pictures, shuffle=True, batch_size=int(batch))
    unet, optimizer, loader = accelerator.prepare(unet, optimizer, loader)
    done = 0
    while done < int(steps):
        for drawn in loader:
            latents = vae.encode(drawn["pixels"]).latent_dist.sample() * vae.config.scaling_factor
            noise, t = (
                torch.randn_like(latents),
                torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),)),
            )
            noisy, states = scheduler.add_noise(latents, noise, t), text(drawn["ids"], return_dict=False)[0]
            velocity = scheduler.config.prediction_type == "v_prediction"
            target = scheduler.get_velocity(latents, noise, t) if velocity else noise
            loss = F.mse_loss(unet(noisy, t, states, return_dict=False)[0].float(), target.float())
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            print(json.dumps({"step": done, "time": time.time(), "loss": loss.detach().item()}), flush=True)
            if done == int(steps):
                break
    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(accelerator.unwrap_model(unet)))
    StableDiffusionPipeline.save_lora_weights(out, unet_lora_layers=state, safe_serialization=True)
    print(json.dumps({"file": True, "time": time.time()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
