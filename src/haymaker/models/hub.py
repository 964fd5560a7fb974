"""The Hugging Face Hub: asked once and briefly, and only for what is not in its cache on this machine."""

from haymaker.errors import ModelError

SECONDS = 5.0  # of one request


def check_hub(name: str) -> None:
    """Raise ModelError where a model that is not in the cache cannot be fetched: offline, unreachable, or not there.

    transformers alone tries for half a minute before it says that there is no network.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if is_offline_mode():
        raise ModelError(f"{name}: not in the local Hub cache, and HF_HUB_OFFLINE is set; {remedy(name)}")
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=SECONDS)
    except GatedRepoError:
        raise ModelError(
            f"{name}: not in the local Hub cache, and the Hub wants you to accept its terms and `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(f"{name}: not in the local Hub cache, and the Hub knows no model of this name") from None
    except HfHubHTTPError:
        return  # the Hub answers; what is amiss transformers will say
    except Exception as error:  # of whichever HTTP client the installed version uses
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{name}: not in the local Hub cache, and the Hub cannot be reached ({reason}); {remedy(name)}"
        ) from None


def remedy(name: str) -> str:
    return f"run `hf download {name}` where there is a network, or give a folder"
